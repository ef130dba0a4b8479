#include "stage/http.hpp"

#include <cstdlib>

#include "base/files.hpp"
#include "base/hash.hpp"
#include "stage/file_lock.hpp"
#include "stage/http_ask.hpp"
#include "stage/part_file.hpp"
#include "unit/stage/folder.hpp"

namespace qsweep::stage {
namespace {

TEST(Url, ShowsNothingSecret) {
  EXPECT_EQ(shown_url("https://user:pw@host:1/a/b?X-Signature=secret#x"), "https://host:1/a/b");
  EXPECT_EQ(shown_url("https://host/a@b"), "https://host/a@b");
  EXPECT_EQ(shown_url("https://a@b@host/"), "https://host/");
  EXPECT_EQ(shown_url("plain"), "plain");
  EXPECT_EQ(shown_url(""), "");
}

TEST(Url, EncodesAComponent) {
  EXPECT_EQ(encode_component("a-b_c.d~9"), "a-b_c.d~9");
  EXPECT_EQ(encode_component("a/b?c#d %+\xc3\xa9"), "a%2Fb%3Fc%23d%20%25%2B%C3%A9");
}

TEST(Url, HasAnOrigin) {
  if (!can_stage()) GTEST_SKIP() << "built without libcurl";
  EXPECT_EQ(origin_of("HTTPS://Host.Example/a?b"), "https://host.example:443");
  EXPECT_EQ(origin_of("http://host"), "http://host:80");
  EXPECT_EQ(origin_of("https://user:pw@host:8443/"), "https://host:8443");
  EXPECT_NE(origin_of("https://host.evil/"), origin_of("https://host/"));
  for (const char* url : {"", "host", "/a", "file:///a", "ftp://h/", "https://", "https://a b/"})
    EXPECT_TRUE(has(refusal([&] { origin_of(url); }), "not an address")) << url;
}

TEST(ContentRange, IsReadStrictly) {
  const auto range = parse_content_range("bytes 5-9/10");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->begin, 5u);
  EXPECT_EQ(range->end, 9u);
  EXPECT_EQ(range->total, 10u);
  EXPECT_FALSE(parse_content_range("bytes 0-0/*")->total);
  for (const char* text :
       {"", "bytes", "bytes 5-9", "bytes 5-4/10", "bytes 5-9/9", "bytes -9/10", "bytes 5-9/10x",
        "bytes 5-9/", "bytes */10", "items 5-9/10", "bytes 99999999999999999999-1/2"})
    EXPECT_FALSE(parse_content_range(text)) << text;
}

TEST(Answer, ReadsItsLength) {
  HttpAnswer answer;
  EXPECT_FALSE(answer.length());
  for (const char* text : {"", "-1", "1 ", "0x1", "9999999999999999999", "1,1"}) {
    answer.headers["content-length"] = text;
    EXPECT_FALSE(answer.length()) << text;
  }
  answer.headers["content-length"] = "123";
  EXPECT_EQ(answer.length(), 123u);
}

TEST(Answer, IsToldByItsKind) {
  HttpAnswer answer{404, {{"x-error-message", "gone"}}, "", "https://h/a?secret"};
  try {
    throw_status("cannot", answer);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_input);
    EXPECT_EQ(std::string(error.what()), "cannot (the server answered 404: gone, https://h/a)");
  }
  answer.status = 418;
  EXPECT_THROW(throw_status("cannot", answer), Error);
}

TEST(Settings, AreRead) {
  ::setenv("QSWEEP_HTTP_TRIES", "7", 1);
  ::setenv("QSWEEP_HTTP_BACKOFF_MS", "250", 1);
  const HttpSettings settings = http_settings_of_environment();
  EXPECT_EQ(settings.tries, 7);
  EXPECT_EQ(settings.backoff_s, 0.25);
  EXPECT_EQ(settings.stall_s, HttpSettings().stall_s);
  for (const char* value : {"0", "-1", "x", "1e9", "101"}) {
    ::setenv("QSWEEP_HTTP_TRIES", value, 1);
    EXPECT_TRUE(has(refusal([] { http_settings_of_environment(); }), "QSWEEP_HTTP_TRIES")) << value;
  }
  ::unsetenv("QSWEEP_HTTP_TRIES");
  ::unsetenv("QSWEEP_HTTP_BACKOFF_MS");
}

class PartTest : public FolderTest {};

// `git hash-object` of "hello\n", and its SHA-256.
constexpr const char* hello_git = "ce013625030ba8dba906f756967f9e9ca394464a";
constexpr const char* hello_sha256 =
    "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

TEST_F(PartTest, HashesWhatArrives) {
  PartFile part(folder_ / "new" / "file", 6, true);
  part.append(std::string("hel"));
  part.append(std::string("lo\n"));
  EXPECT_EQ(part.size(), 6u);
  const auto hashes = part.finish();
  EXPECT_EQ(hashes.sha256, hello_sha256);
  EXPECT_EQ(hashes.git_sha1, hello_git);
}

TEST_F(PartTest, GoesOnBehindWhatIsThere) {
  write_file_atomic(folder_ / "file", "hel");
  {
    PartFile part(folder_ / "file", 6, true);
    EXPECT_EQ(part.size(), 3u);
    part.append(std::string("lo\n"));
    EXPECT_EQ(part.finish().git_sha1, hello_git);
  }
  EXPECT_EQ(read_file(folder_ / "file", 100), "hello\n");
  PartFile anew(folder_ / "file", std::nullopt, false);
  EXPECT_EQ(anew.size(), 0u);
  anew.append(std::string("hello\n"));
  anew.restart();
  anew.append(std::string("hello\n"));
  const auto hashes = anew.finish();
  EXPECT_EQ(hashes.sha256, hello_sha256);
  EXPECT_EQ(hashes.git_sha1, "");
  EXPECT_EQ(read_file(folder_ / "file", 100), "hello\n");
}

TEST_F(PartTest, RefusesALinkInItsPlace) {
  std::filesystem::create_symlink(folder_ / "elsewhere", folder_ / "link");
  EXPECT_TRUE(has(refusal([&] { PartFile part(folder_ / "link", 1, true); }), "cannot open"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "elsewhere"));
}

class LockTest : public FolderTest {};

TEST_F(LockTest, KeepsOthersOut) {
  struct Enough {};
  const auto give_up = [] { throw Enough{}; };
  {
    const FileLock lock(folder_ / "a" / "lock", give_up);
    EXPECT_TRUE(lock.held());
    EXPECT_THROW(FileLock(folder_ / "a" / "lock", give_up), Enough);
    EXPECT_TRUE(FileLock(folder_ / "other", give_up).held());
    std::filesystem::remove(folder_ / "a" / "lock");
    EXPECT_TRUE(FileLock(folder_ / "a" / "lock", give_up).held());  // another file by that name
  }
  EXPECT_TRUE(FileLock(folder_ / "a" / "lock", give_up).held());
}

}  // namespace
}  // namespace qsweep::stage
