// DiskImage: one writable image on this host with the three files beside it, opened, locked and judged.
//
//     root.img   root.img.us-record (what it is)   root.img.us-map (where it may differ)   root.img.us-journal
//     (standby)
//
// Opening reads and judges, and changes nothing.  Errors name the file, say what is wrong and what to do:
//   missing image · shorter or longer than its record or than the VM file says · in use by another process ·
//   no record (a foreign file) · a damaged record.
// A `shared` image has no map; its record and its journal are whoever's turn it is to write (core/disk/shared_turn.h).
// take() locks the image and reads them, in files that it opens anew: what another host wrote is seen then.
//
// A map that is missing or damaged is no error: then everything may differ, and everything is compared.
//
// Not thread-safe; the blocking calls are for start, takeover and the command line.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "core/disk/dirty_map.h"
#include "core/disk/image_record.h"
#include "os/block_file.h"

namespace us {

struct DiskImagePaths {
  std::string image;
  std::string record;
  std::string map;
  std::string journal;
  static DiskImagePaths of(const std::string& image) {
    return {image, image + ".us-record", image + ".us-map", image + ".us-journal"};
  }
};

class DiskImage {
 public:
  struct Options {
    bool direct = false;
    // Direct from go_direct() on only: a standby's writes are of any length.
    bool direct_later = false;
    std::optional<uint64_t> bytes = {};  // what the VM file says
    // An image without a record is taken as new instead of refused, and gets one with the first change.
    bool adopt = false;
    // Not locked; past the page cache, which another host would not see; a record need not be there yet.
    bool shared = false;
  };
  static Result<DiskImage> open(const std::string& path, const Options& options);
  // A new, sparse image of zeroes with a record.  Errors: something is there already; no room; no such directory.
  static Status create(const std::string& path, uint64_t bytes);
  // Writes the record of a new image beside a file that has none: from now on it may be served, or overwritten as a
  // standby's.
  static Status adopt(const std::string& path);
  // Removes the three files: nothing is known of the image any more.  It must not be in use.
  static Status forget(const std::string& path);

  const std::string& path() const { return paths_.image; }
  const BlockFile& image() const { return image_; }
  BlockFile& image() { return image_; }
  uint64_t bytes() const { return image_.size_bytes(); }
  void go_direct();

  const ImageRecord& record() const { return record_; }
  // Durable when it returns.
  Status write_record(const ImageRecord& next);
  BlockFile& record_file() { return *record_file_; }
  void record_was_written(const ImageRecord& record) { record_ = record; }

  bool has_map() const { return has_map_; }
  // The map as it is in the file; if there is none that fits, everything is marked.
  Result<DirtyMap> load_map();
  // Makes the map file fit `map`, durably.
  Status write_map(const DirtyMap& map);
  BlockFile& map_file() { return *map_file_; }

  // The record of the journal that is to be applied first, if any, and the newest sequence number.
  struct Journal {
    std::optional<JournalRecord> replay;
    JournalSequence last;
  };
  // Makes the journal if there is none, in full, so that it cannot meet a full file system later.
  Result<Journal> open_journal(uint64_t staged_bytes_max);
  // Applies what the journal still has for a consistent image, durably; the newest sequence number.  Blocks.
  Result<JournalSequence> finish_journal();
  BlockFile& journal_file() { return *journal_file_; }
  // Whoever says this writes everything again that a failed sync may have dropped.
  void forget_sync_errors();

  // ---- of a shared image ----
  struct Taken {
    ImageRecord record;
    Journal journal;  // only what is newer than the record
  };
  // Waits `patience` for the lock.  0, or an errno; EAGAIN: another host writes to it.  Blocks.
  int take(Duration patience, bool read_journal, Taken& taken);
  void let_go() { image_.unlock(); }

 private:
  DiskImage(DiskImagePaths paths, BlockFile image) : paths_(std::move(paths)), image_(std::move(image)) {}
  Status open_record(const Options& options);
  Status open_journal_file(const JournalLayout& layout);
  Status read_taken(bool read_journal, Taken& taken);

  DiskImagePaths paths_;
  BlockFile image_;
  std::optional<BlockFile> record_file_;
  std::optional<BlockFile> map_file_;
  std::optional<BlockFile> journal_file_;
  ImageRecord record_;
  bool has_map_ = false;
  bool direct_later_ = false;
  bool shared_ = false;
};

}  // namespace us
