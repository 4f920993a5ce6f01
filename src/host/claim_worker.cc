#include "host/claim_worker.h"

#include <thread>

#include "os/thread.h"

namespace us {

ClaimWorker::ClaimWorker(std::shared_ptr<Arbiter> arbiter, std::function<void(ClaimAnswer)> answered)
    : arbiter_(std::move(arbiter)), shared_(std::make_shared<Shared>()) {
  shared_->answered = std::move(answered);
}

ClaimWorker::~ClaimWorker() {
  const std::lock_guard lock(shared_->mutex);
  shared_->answered = nullptr;
}

void ClaimWorker::ask(Generation generation) {
  std::thread([arbiter = arbiter_, shared = shared_, generation] {
    name_this_thread("us-arbiter");
    const ClaimAnswer answer = arbiter->claim(generation);
    const std::lock_guard lock(shared->mutex);
    if (shared->answered) shared->answered(answer);
  }).detach();
}

}  // namespace us
