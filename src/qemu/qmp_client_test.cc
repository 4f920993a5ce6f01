#include "qemu/qmp_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <optional>

namespace us {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

constexpr Duration kSoon = Duration::seconds(5);  // a bound for what is already in the socket
constexpr Duration kNotNow = Duration::millis(1);

// QEMU's end of the socket.  What it will say is written before it is waited for, so nothing here needs a thread.
class Qmp : public testing::Test {
 protected:
  void SetUp() override {
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    qemu_.reset(pair[0]);
    client_.emplace(UniqueFd(pair[1]));
  }
  void says(const std::string& text) {
    ASSERT_EQ(::send(qemu_.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  std::string heard() {
    char text[4096];
    const ssize_t n = ::recv(qemu_.get(), text, sizeof text, MSG_DONTWAIT);
    return std::string(text, static_cast<size_t>(std::max<ssize_t>(n, 0)));
  }

  UniqueFd qemu_;
  std::optional<QmpClient> client_;
};

TEST_F(Qmp, NegotiatesTheCapabilities) {
  says("{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n{\"return\": {}}\r\n");
  EXPECT_TRUE(client_->negotiate(kSoon));
  EXPECT_EQ(Json::parse(heard()), Json({{"execute", "qmp_capabilities"}}));
}

TEST_F(Qmp, RefusesAPeerWithoutAGreeting) {
  says("{\"return\": {}}\n");
  const Status status = client_->negotiate(kSoon);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().kind, ErrorKind::kProtocol);
}

TEST_F(Qmp, SendsArgumentsOnlyWhereThereAreAny) {
  ASSERT_TRUE(client_->send("stop"));
  ASSERT_TRUE(client_->send("xen-save-devices-state", {{"filename", "/x"}, {"live", false}}));
  const std::string text = heard();
  const size_t end = text.find('\n');
  EXPECT_EQ(Json::parse(text.substr(0, end)), Json({{"execute", "stop"}}));
  EXPECT_EQ(Json::parse(text.substr(end))["arguments"], Json({{"filename", "/x"}, {"live", false}}));
}

TEST_F(Qmp, AnswersComeInTheOrderOfTheCommandsAndEventsAreKeptApart) {
  says("{\"event\": \"STOP\"}\n{\"return\": 1}\n{\"event\": \"RESUME\"}\n{\"return\": 2}\n");
  EXPECT_EQ(client_->receive(kSoon).value(), Json(1));
  EXPECT_EQ(client_->receive(kSoon).value(), Json(2));
  const std::vector<Json> events = client_->take_events().value();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]["event"], "STOP");
  EXPECT_EQ(events[1]["event"], "RESUME");
  EXPECT_TRUE(client_->take_events().value().empty());
}

TEST_F(Qmp, EventsAreCountedByNameUntilTheyAreTaken) {
  says("{\"event\": \"STOP\"}\n{\"return\": 1}\n{\"event\": \"RESET\"}\n{\"event\": \"RESET\"}\n{\"return\": 2}\n");
  EXPECT_TRUE(client_->receive(kSoon));
  EXPECT_EQ(client_->pending_events("RESET"), 0u) << "it came after the first answer";
  EXPECT_TRUE(client_->receive(kSoon));
  EXPECT_EQ(client_->pending_events("RESET"), 2u);
  EXPECT_EQ(client_->pending_events("SHUTDOWN"), 0u);
  EXPECT_EQ(client_->take_events().value().size(), 3u);
  EXPECT_EQ(client_->pending_events("RESET"), 0u);
}

TEST_F(Qmp, LookingForEventsDoesNotLoseAnAnswer) {
  says("{\"return\": 7}\n{\"event\": \"RESET\"}\n");
  EXPECT_EQ(client_->take_events().value().size(), 1u);
  EXPECT_EQ(client_->receive(kSoon).value(), Json(7));
}

TEST_F(Qmp, AMessageMayComeInPieces) {
  says("{\"ret");
  EXPECT_EQ(client_->receive(kNotNow).error().kind, ErrorKind::kTimeout);
  says("urn\": \"a");
  EXPECT_EQ(client_->receive(kNotNow).error().kind, ErrorKind::kTimeout);
  says("b\"}\n{\"return\": 2}\n");
  EXPECT_EQ(client_->receive(kSoon).value(), Json("ab"));
  EXPECT_EQ(client_->receive(kSoon).value(), Json(2));
}

TEST_F(Qmp, AnErrorCarriesQemusOwnWords) {
  says("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such device\"}}\n");
  const Result<Json> answer = client_->execute("device_del", nullptr, kSoon);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::kRefused);
  EXPECT_THAT(answer.error().message, HasSubstr("device_del"));
  EXPECT_THAT(answer.error().message, HasSubstr("no such device"));
}

TEST_F(Qmp, NoticesThatQemuHasGone) {
  says("{\"event\": \"SHUTDOWN\"}\n");
  qemu_.reset();
  EXPECT_EQ(client_->receive(kSoon).error().kind, ErrorKind::kSystem);
  EXPECT_FALSE(client_->send("cont"));
}

TEST_F(Qmp, TheLastWordsOfQemuAreHeardBeforeItsEnd) {
  says("{\"event\": \"GUEST_PANICKED\"}\n{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-panic\"}}\n");
  qemu_.reset();
  const Result<std::vector<Json>> events = client_->take_events();
  ASSERT_TRUE(events) << events.error().message;
  EXPECT_EQ(events->size(), 2u);
  EXPECT_FALSE(client_->take_events());
}

TEST_F(Qmp, TheLastWordsOfQemuAreKeptWhileAnAnswerIsAwaited) {
  says("{\"event\": \"SHUTDOWN\", \"data\": {\"reason\": \"guest-panic\"}}\n");
  qemu_.reset();
  EXPECT_FALSE(client_->receive(kSoon));
  const Result<std::vector<Json>> events = client_->take_events();
  ASSERT_TRUE(events) << events.error().message;
  EXPECT_EQ(events->size(), 1u);
}

TEST_F(Qmp, SurvivesNonsense) {
  for (const char* nonsense : {"hello\n", "{\"return\": \n", "42\n", "[]\n", "\"text\"\n", "null\n", "\n",
                               "{\"error\": 1}\n", "{\"error\": {\"desc\": {}}}\n"}) {
    SetUp();
    says(nonsense);
    EXPECT_FALSE(client_->receive(kSoon)) << nonsense;
  }
  SetUp();
  says("17\n");
  EXPECT_FALSE(client_->take_events());
}

TEST_F(Qmp, GivesTheTextOfAMonitorCommand) {
  says("{\"return\": \"line\\r\\n\"}\n");
  EXPECT_EQ(client_->monitor_command("info version", kSoon).value(), "line\r\n");
}

}  // namespace
}  // namespace us
