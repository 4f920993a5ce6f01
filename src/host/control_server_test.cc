#include "host/control_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <future>
#include <thread>

#include "os/clock.h"
#include "os/socket.h"

namespace us {
namespace {

using Json = nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

class Control : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = "/tmp/us-control.XXXXXX";  // short: a socket's path has 107 bytes at most
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    path_ = control_path(directory_, "db");
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }
  void serve(ControlServer::Handler handler) {
    Result<std::unique_ptr<ControlServer>> server = ControlServer::start(path_, std::move(handler));
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  UniqueFd connect() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  // What the server sends until it closes.
  static std::string rest_of(int fd) {
    std::string all;
    char chunk[512];
    while (wait_readable(fd, clock_now() + Duration::seconds(20))) {
      const ssize_t n = ::recv(fd, chunk, sizeof chunk, 0);
      if (n <= 0) break;
      all.append(chunk, static_cast<size_t>(n));
    }
    return all;
  }

  std::string directory_;
  std::string path_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(Control, AnswersARequest) {
  serve([](const Json& request) -> Result<Json> { return Json{{"you said", request["command"]}}; });
  const Result<Json> answer = control_request(path_, {{"command", "status"}});
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_EQ((*answer)["you said"], "status");
}

TEST_F(Control, ARefusalKeepsItsWords) {
  serve(
      [](const Json&) -> Result<Json> { return fail(ErrorKind::kRefused, "only a protected VM can be handed over"); });
  const Result<Json> answer = control_request(path_, {{"command", "switchover"}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().message, "only a protected VM can be handed over");
}

TEST_F(Control, WhoIsNotThereIsExplained) {
  const Result<Json> answer = control_request(path_, {{"command", "status"}});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::kInput);
  EXPECT_THAT(answer.error().message, HasSubstr(path_));
}

TEST_F(Control, OneNodeOfAVmPerDirectory) {
  serve([](const Json&) -> Result<Json> { return Json(); });
  const auto second = ControlServer::start(path_, [](const Json&) -> Result<Json> { return Json(); });
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("already runs"));
  EXPECT_TRUE(control_request(path_, Json::object())) << "the first is not harmed";
}

TEST_F(Control, ASocketLeftBehindByAKilledNodeIsReplaced) {
  {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  }
  serve([](const Json&) -> Result<Json> { return Json(1); });
  EXPECT_EQ(control_request(path_, Json::object()).value(), Json(1));
}

TEST_F(Control, IsForItsOwnerOnlyAndGoesWithTheServer) {
  serve([](const Json&) -> Result<Json> { return Json(); });
  struct stat status {};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_THAT(control_names(directory_), ElementsAre("db"));
  server_.reset();
  EXPECT_NE(::stat(path_.c_str(), &status), 0);
  EXPECT_TRUE(control_names(directory_).empty());
}

TEST_F(Control, ARequestThatWaitsDoesNotHoldUpOthers) {
  std::promise<void> go;
  std::shared_future<void> gone = go.get_future().share();
  serve([gone](const Json& request) -> Result<Json> {
    if (request.value("command", "") == "switchover") gone.wait();
    return Json("done");
  });
  auto slow = std::async(std::launch::async, [&] { return control_request(path_, {{"command", "switchover"}}); });
  EXPECT_TRUE(control_request(path_, {{"command", "status"}}));
  go.set_value();
  EXPECT_EQ(slow.get().value(), Json("done"));
}

TEST_F(Control, NonsenseIsRefusedAndHarmsNobody) {
  serve([](const Json&) -> Result<Json> { return Json("fine"); });
  for (const std::string nonsense : {"hello\n", "[]\n", "{\n", "\n", "7\n"}) {
    const UniqueFd client = connect();
    ASSERT_EQ(::send(client.get(), nonsense.data(), nonsense.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(nonsense.size()));
    EXPECT_THAT(rest_of(client.get()), HasSubstr("\"ok\":false")) << nonsense;
  }
  EXPECT_EQ(control_request(path_, Json::object()).value(), Json("fine"));
}

TEST_F(Control, AFieldOfTheWrongTypeIsTheClientsMistake) {
  serve([](const Json& request) -> Result<Json> { return Json(request.value("assignment", std::string())); });
  const Result<Json> answer = control_request(path_, {{"assignment", 7}});
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().message, HasSubstr("makes no sense"));
  EXPECT_TRUE(control_request(path_, Json::object()));
}

TEST_F(Control, ARequestWithoutEndIsDropped) {
  serve([](const Json&) -> Result<Json> { return Json("fine"); });
  const UniqueFd client = connect();
  const std::string endless(64 * 1024, 'x');
  // The server may close before it has taken all of it.
  static_cast<void>(::send(client.get(), endless.data(), endless.size(), MSG_NOSIGNAL));
  EXPECT_EQ(rest_of(client.get()), "");
  EXPECT_EQ(control_request(path_, Json::object()).value(), Json("fine"));
}

TEST_F(Control, NamesThatAreTooLongForASocketAreRefused) {
  const auto server = ControlServer::start("/tmp/" + std::string(200, 'n') + ".control",
                                           [](const Json&) -> Result<Json> { return Json(); });
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().kind, ErrorKind::kInput);
}

}  // namespace
}  // namespace us
