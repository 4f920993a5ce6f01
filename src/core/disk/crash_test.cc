// The standby's image under power loss: after a crash at any step, with any part of what was not synced lost, torn or
// out of order, and with writes and syncs that fail, recovery leaves exactly one committed epoch, and the right one.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "core/disk/disk_samples.h"
#include "core/disk/epoch_applier.h"
#include "core/disk/image_record.h"
#include "core/disk/model_disk.h"

namespace us {
namespace {

using namespace disk_samples;

constexpr ImageId kImage{3};
constexpr uint64_t kDisk = 16 * 1024;
constexpr uint64_t kStagedMax = 64 * 1024;
constexpr Generation kGeneration{2};
constexpr uint64_t kSession = 11;

// Everything the standby has on disk, and the code that would run over it.
class Standby {
 public:
  explicit Standby(uint64_t seed)
      : image(kDisk, seed), journal(layout.file_bytes(), seed + 1), sidecar(kImageRecordFileBytes, seed + 2) {
    record = {.image = kImage,
              .disk_bytes = kDisk,
              .state = ImageState::kConsistent,
              .at = {kGeneration, kSession, Epoch(0)},
              .journal_base = {},
              .counter = 1};
    sidecar.write(image_record_offset(record), encode(record));
    sidecar.sync();
    start({});
  }
  void start(JournalSequence last) {
    staged.emplace(kDisk, kStagedMax);
    applier.emplace(kImage, layout, last);
  }

  // One step towards the image; false: there is nothing to do.
  bool step() {
    if (applier->step() == ApplyStep::kIdle) {
      auto batch = staged->take_batch();
      if (!batch) return false;
      applier->begin(std::move(*batch));
      return true;
    }
    if (execute()) {
      applier->on_done();
      if (applier->step() == ApplyStep::kIdle) staged->batch_applied();
    } else {
      applier->on_error();
      applier->retry();
    }
    return true;
  }

  // The machine comes up again: what the image is then at.  Recovery is cut off after `steps` steps.
  ImageEpoch recover(int steps = 1000) {
    record = *decode_image_record(sidecar.bytes());
    EXPECT_EQ(record.state, ImageState::kConsistent);
    auto last = recover_journal(journal.read(0, layout.slot_bytes), journal.read(layout.slot_bytes, layout.slot_bytes),
                                kImage, kDisk, record.journal_base);
    start(last ? last->sequence : record.journal_base);
    if (!last) return record.at;
    applier->begin_replay(std::move(*last));
    const ImageEpoch target = applier->batch().target;
    while (applier->step() != ApplyStep::kIdle && steps-- > 0) {
      if (execute())
        applier->on_done();
      else
        applier->on_error(), applier->retry();
    }
    return target;
  }
  void crash() {
    image.crash();
    journal.crash();
    sidecar.crash();
  }
  void set_failures(double p) {
    image.set_failures(p);
    journal.set_failures(p);
  }
  Bytes content() const { return Bytes(image.bytes().begin(), image.bytes().end()); }

  JournalLayout layout = JournalLayout::for_staged(kStagedMax);
  ModelDisk image, journal, sidecar;
  ImageRecord record;
  std::optional<StagedWrites> staged;
  std::optional<EpochApplier> applier;

 private:
  bool execute() {
    switch (applier->step()) {
      case ApplyStep::kWriteRecord: {
        uint64_t at = applier->journal_offset();
        bool ok = journal.write(at, applier->start());
        at += applier->start().size();
        for (const DiskWrite& w : applier->batch().writes) {
          ok = ok && journal.write(at, w.data.span());
          at += w.data.size();
        }
        return ok;
      }
      case ApplyStep::kSyncJournal:
        return journal.sync();
      case ApplyStep::kApply: {
        bool ok = true;
        for (const DiskWrite& w : applier->batch().writes) {
          Bytes bytes(w.range.length());
          std::ranges::copy(w.data.span(), bytes.begin());
          ok = ok && image.write(w.range.start, bytes);
        }
        return ok;
      }
      case ApplyStep::kSyncImage:
        return image.sync();
      case ApplyStep::kIdle:
        break;
    }
    return false;
  }
};

// A story of writes, cuts and commits drawn from `seed`, stopped by a power loss after `steps` steps of the applier.
struct Story {
  explicit Story(uint64_t seed, double failures = 0) : rng(seed), standby(seed * 3 + 1) {
    standby.set_failures(failures);
    at.emplace_back(kDisk);
    standby.staged->begin_session(kGeneration, kSession, Epoch(0));
  }
  void write_and_commit() {
    Bytes disk = at.back();
    for (uint64_t n = rng.below(6); n > 0; --n) {
      const DiskWrite w = random_write(rng, kDisk, 3000);
      ASSERT_TRUE(standby.staged->stage(Epoch(at.size()), w));
      lay_over(disk, w);
    }
    standby.staged->commit(Epoch(at.size()));
    at.push_back(std::move(disk));
  }
  // Returns false when the story is over before the crash.
  bool run(int steps, int epochs = 8) {
    while (steps > 0) {
      if (static_cast<int>(at.size()) <= epochs && rng.chance(0.4)) write_and_commit();
      if (standby.step())
        --steps;
      else if (static_cast<int>(at.size()) > epochs)
        return false;
    }
    return true;
  }
  Epoch applied() const { return standby.applier->applied() ? standby.applier->applied()->epoch : Epoch(0); }

  Rng rng;
  Standby standby;
  std::vector<Bytes> at;  // the disk at each epoch
};

void crash_and_judge(Story& story, const char* what) {
  const Epoch promised = story.applied();  // what the primary was told is durable
  const Epoch newest(story.at.size() - 1);
  story.standby.crash();
  const ImageEpoch recovered = story.standby.recover();
  ASSERT_GE(recovered.epoch, promised) << what;
  ASSERT_LE(recovered.epoch, newest) << what;
  ASSERT_TRUE(story.standby.content() == story.at[recovered.epoch.value()]) << what << ": not a committed epoch";
}

TEST(DiskCrash, APowerLossAtEveryStepLeavesExactlyOneCommittedEpoch) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    for (int steps = 0;; ++steps) {
      Story story(seed);
      const bool more = story.run(steps);
      crash_and_judge(story, "first crash");
      if (HasFatalFailure()) FAIL() << "seed " << seed << " steps " << steps;
      if (!more) break;
    }
  }
}

TEST(DiskCrash, ASecondPowerLossDuringRecoveryChangesNothing) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Story story(seed);
    story.run(static_cast<int>(seed % 23));
    story.standby.crash();
    const ImageEpoch first = story.standby.recover(static_cast<int>(seed % 3));
    story.standby.crash();
    const ImageEpoch second = story.standby.recover();
    ASSERT_EQ(first, second);
    ASSERT_TRUE(story.standby.content() == story.at[second.epoch.value()]) << seed;
  }
}

TEST(DiskCrash, WritesAndSyncsThatFailAreRepeatedAndNothingIsLost) {
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Story story(seed, 0.15);
    story.run(static_cast<int>(seed % 60));
    crash_and_judge(story, "with failures");
    if (HasFatalFailure()) FAIL() << "seed " << seed;
  }
}

TEST(DiskCrash, ATakeoverFindsTheImageAtExactlyTheCommittedEpoch) {
  for (uint64_t seed = 0; seed < 400; ++seed) {
    Story story(seed, seed % 3 == 0 ? 0.1 : 0);
    story.run(static_cast<int>(seed % 31));
    Standby& s = story.standby;
    // The primary dies in the middle of the next epoch.
    (void)s.staged->stage(Epoch(story.at.size()), filled(0, 4000, 0x99));
    s.staged->drop_uncommitted();
    while (s.step()) {
    }
    ASSERT_FALSE(s.staged->unapplied());
    ASSERT_TRUE(s.content() == story.at.back()) << seed;
    const ImageEpoch memory{kGeneration, kSession, s.staged->committed()};
    const ImageFacts facts{.expected = kImage, .disk_bytes = kDisk, .newest = kGeneration, .newest_was_here = false};
    const ImageEpoch applied = s.applier->applied().value_or(s.record.at);
    ASSERT_TRUE(may_take_over_with(s.record, facts, applied, memory));
    // It goes live, durably; then the guest writes, and the journal must never be replayed over that.
    const auto live = s.record.go_live(Generation(3), s.applier->sequence());
    ASSERT_TRUE(live);
    s.sidecar.write(image_record_offset(*live), encode(*live));
    s.sidecar.sync();
    s.set_failures(0);
    s.image.write(0, Bytes(kDisk, 0x42));
    s.image.sync();
    s.crash();
    const auto back = decode_image_record(s.sidecar.bytes());
    ASSERT_EQ(back->state, ImageState::kLive);
    EXPECT_FALSE(recover_journal(s.journal.read(0, s.layout.slot_bytes),
                                 s.journal.read(s.layout.slot_bytes, s.layout.slot_bytes), kImage, kDisk,
                                 back->journal_base));
  }
}

RC_GTEST_PROP(DiskCrash, StandbysThatCrashAndGoOnStayExact, (uint64_t seed)) {
  Story story(seed, 0.05);
  for (int round = 0; round < 4; ++round) {
    story.run(static_cast<int>(story.rng.below(25)), static_cast<int>(story.at.size()) + 4);
    story.standby.crash();
    const ImageEpoch recovered = story.standby.recover();
    RC_ASSERT((story.standby.content() == story.at[recovered.epoch.value()]));
    // It goes on from there: the primary resynchronises it by sending what follows again.
    story.at.resize(recovered.epoch.value() + 1);
    story.standby.staged->begin_session(kGeneration, kSession, recovered.epoch);
  }
}

}  // namespace
}  // namespace us
