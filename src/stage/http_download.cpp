// A download that goes on where it was broken off, and proves what it got.
#include <cctype>

#include "base/error.hpp"
#include "base/files.hpp"
#include "stage/http_ask.hpp"
#include "stage/part_file.hpp"

namespace qsweep::stage {
namespace {

constexpr int whole_tries =
    2;  // a wrong hash may come from a damaged part or a bad proxy: once more

[[noreturn]] void throw_wrong(const Download& download, const std::string& why) {
  throw Error(ErrorKind::io, "wrong content from " + shown_url(download.url), why,
              "nothing of it is used; is a proxy or a login page in the way?");
}

// One file on its way: what its headers promise against what arrives.
class Arrival {
 public:
  explicit Arrival(const Download& download)
      : download_(download),
        by_git_(download.expected.size() == 40),
        part_(download.part, by_git_ ? download.size : std::nullopt, !download.expected.empty()) {
    if (over(part_.size())) part_.restart();
    download_.progress(static_cast<int64_t>(part_.size()));
  }

  bool whole() const { return download_.size && part_.size() == *download_.size; }
  uint64_t* gained() { return &gained_; }

  std::vector<std::string> prepare() {
    checked_ = false;
    if (part_.size() == 0) return {};
    std::vector<std::string> headers = {"Range: bytes=" + std::to_string(part_.size()) + "-"};
    // Without a hash that will prove the whole, the server must say that the file is the same.
    if (download_.expected.empty()) {
      if (etag_.empty()) {
        restart();
        return {};
      }
      headers.push_back("If-Range: " + etag_);
    }
    return headers;
  }

  void take(const WireResult& head, std::span<const char> bytes) {
    if (head.status != 200 && head.status != 206) return;
    if (!checked_) check_head(head);
    checked_ = true;
    if (over(part_.size() + bytes.size()))
      throw_wrong(download_, "it is longer than the " + std::to_string(limit()) + " bytes allowed");
    part_.append(bytes);
    gained_ += bytes.size();
    download_.progress(static_cast<int64_t>(bytes.size()));
  }

  void judge(const HttpAnswer& answer) {
    if (answer.status == 416) {
      restart();
      throw Passing{"the server has no such range"};
    }
    if (answer.status != 200 && answer.status != 206)
      throw_status("cannot download " + shown_url(download_.url), answer);
    if (download_.size && part_.size() < *download_.size) {
      throw Passing{"it ended after " + std::to_string(part_.size()) + " of " +
                    std::to_string(*download_.size) + " bytes"};
    }
  }

  // Nothing where the bytes are not those that were asked for.
  std::optional<Downloaded> finish() {
    const uint64_t size = part_.size();
    const PartFile::Hashes hashes = part_.finish();
    const std::string& found = by_git_ ? hashes.git_sha1 : hashes.sha256;
    if (!download_.expected.empty() && found != download_.expected) return std::nullopt;
    return Downloaded{size, hashes.sha256, etag_};
  }

  void restart() {
    download_.progress(-static_cast<int64_t>(part_.size()));
    part_.restart();
  }

 private:
  uint64_t limit() const { return download_.size.value_or(download_.max_bytes); }
  bool over(uint64_t bytes) const { return bytes > limit(); }

  void check_head(const WireResult& head) {
    const HttpAnswer answer{head.status, head.headers, "", download_.url};
    const auto length = answer.length();
    uint64_t begin = 0;
    if (head.status == 206) {
      const auto range = parse_content_range(answer.header("content-range"));
      if (!range || range->begin != part_.size())
        throw_wrong(download_, "another range than was asked for");
      begin = range->begin;
    } else if (part_.size() > 0) {
      restart();  // it sends everything anew
    }
    if (length && download_.size && begin + *length != *download_.size) {
      throw_wrong(download_, "wrong length: " + std::to_string(begin + *length) +
                                 " bytes, expected " + std::to_string(*download_.size));
    }
    const bool chunked = answer.header("transfer-encoding").find("chunked") != std::string::npos;
    if (!length && !chunked && !head.framed && !download_.size && download_.expected.empty())
      throw_wrong(download_,
                  "the server does not say how long it is, so an early end would not show");
    const std::string etag = answer.header("etag");
    const bool strong = etag.size() > 2 && etag.size() < 200 && etag.front() == '"';
    etag_ = strong ? etag : "";
  }

  const Download& download_;
  bool by_git_;
  PartFile part_;
  std::string etag_;
  bool checked_ = false;
  uint64_t gained_ = 0;
};

}  // namespace

std::optional<ContentRange> parse_content_range(const std::string& text) {
  const auto number = [&](size_t& at) -> std::optional<uint64_t> {
    const size_t begin = at;
    while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0) ++at;
    if (at == begin || at - begin > 18) return std::nullopt;
    return std::stoull(text.substr(begin, at - begin));
  };
  size_t at = 6;
  if (!text.starts_with("bytes ")) return std::nullopt;
  ContentRange range;
  const auto begin = number(at);
  if (!begin || at >= text.size() || text[at++] != '-') return std::nullopt;
  const auto end = number(at);
  if (!end || at >= text.size() || text[at++] != '/' || *end < *begin) return std::nullopt;
  range.begin = *begin;
  range.end = *end;
  if (text.substr(at) == "*") return range;
  range.total = number(at);
  if (!range.total || at != text.size() || *range.total <= *end) return std::nullopt;
  return range;
}

Downloaded HttpClient::download(const Download& download) {
  std::string found;
  for (int whole = 0; whole < whole_tries; ++whole) {
    {
      Arrival arrival(download);
      Ask request;
      request.url = download.url;
      request.prepare = [&] { return arrival.prepare(); };
      request.body = [&](const WireResult& head, std::span<const char> bytes) {
        arrival.take(head, bytes);
      };
      request.judge = [&](const HttpAnswer& answer) { arrival.judge(answer); };
      request.gained = arrival.gained();
      if (!arrival.whole()) ask(request);
      if (auto done = arrival.finish()) return *done;
      arrival.restart();
    }
    std::error_code ignored;
    std::filesystem::remove(download.part, ignored);
  }
  throw_wrong(download, "its hash is not " + download.expected);
}

}  // namespace qsweep::stage
