// A disk behind AHCI, which the tests' Linux has no driver for: a guest of one boot sector, whose firmware drives it.
#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "base/bytes.h"
#include "demo/command.h"
#include "e2e.h"

namespace us::e2e {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kDiskBytes = 8u << 20;
constexpr uint32_t kSlots = 1024;
constexpr size_t kSectorBytes = 512;

// Writes number n = 1, 2, … all over sector 1 + n % 1024, by the firmware, and then, in hexadecimal, to the serial
// line:
//
//     start:  xor ax, ax / mov ds, ax / mov es, ax / mov ss, ax / mov sp, 0x7c00 / mov [drive], dl
//     next:   inc dword [number] / mov eax, [number] / mov di, 0x8000 / mov cx, 128 / cld / rep stosd
//             and eax, 1023 / inc eax / mov [lba], eax
//             mov ax, 0x4300 / mov dl, [drive] / mov si, packet / int 0x13 / jc failed        ; extended write
//             mov ebx, [number] / mov cx, 8
//     digit:  rol ebx, 4 / mov al, bl / and al, 15 / add al, '0' / cmp al, '9' / jbe put / add al, 'a' - '9' - 1
//     put:    call send / loop digit / mov al, '\n' / call send
//             mov ax, 0x8600 / xor cx, cx / mov dx, 5000 / int 0x15 / jmp next                 ; 5 ms
//     failed: mov al, '!' / call send / hlt / jmp $ - 1
//     send:   mov dx, 0x3f8 / out dx, al / ret
//     drive:  db 0         number: dd 0         packet: db 16, 0 / dw 1, 0x8000, 0        lba: dq 0
constexpr std::array<uint8_t, 140> kBootSector = {
    0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c, 0x88, 0x16, 0x77, 0x7c, 0x66, 0xff, 0x06, 0x78,
    0x7c, 0x66, 0xa1, 0x78, 0x7c, 0xbf, 0x00, 0x80, 0xb9, 0x80, 0x00, 0xfc, 0x66, 0xf3, 0xab, 0x66, 0x25, 0xff, 0x03,
    0x00, 0x00, 0x66, 0x40, 0x66, 0xa3, 0x84, 0x7c, 0xb8, 0x00, 0x43, 0x8a, 0x16, 0x77, 0x7c, 0xbe, 0x7c, 0x7c, 0xcd,
    0x13, 0x72, 0x2e, 0x66, 0x8b, 0x1e, 0x78, 0x7c, 0xb9, 0x08, 0x00, 0x66, 0xc1, 0xc3, 0x04, 0x88, 0xd8, 0x24, 0x0f,
    0x04, 0x30, 0x3c, 0x39, 0x76, 0x02, 0x04, 0x27, 0xe8, 0x1b, 0x00, 0xe2, 0xeb, 0xb0, 0x0a, 0xe8, 0x14, 0x00, 0xb8,
    0x00, 0x86, 0x31, 0xc9, 0xba, 0x88, 0x13, 0xcd, 0x15, 0xeb, 0xa5, 0xb0, 0x21, 0xe8, 0x03, 0x00, 0xf4, 0xeb, 0xfd,
    0xba, 0xf8, 0x03, 0xee, 0xc3, 0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00, 0x00, 0x80, 0x00, 0x00};

class Ahci : public E2e {
 protected:
  fs::path image(size_t host) const { return cluster_->vm_file(host).parent_path() / "disk.img"; }

  // The VM boots from its disk, without a kernel.
  void write_vm_file(size_t host) {
    std::ifstream in(cluster_->vm_file(host));
    std::string text, line;
    while (std::getline(in, line)) {
      if (line.starts_with("kernel") || line.starts_with("initrd") || line.starts_with("append")) continue;
      if (line == "[[nic]]") text += "[[disk]]\nfile = \"disk.img\"\nsize = \"8M\"\nbus = \"ahci\"\n\n";
      text += line + "\n";
    }
    in.close();
    std::ofstream(cluster_->vm_file(host)) << text;
  }
  void write_boot_sector() {
    std::ofstream out(image(0), std::ios::binary);
    for (const uint8_t byte : kBootSector) out.put(static_cast<char>(byte));
    out.seekp(kSectorBytes - 2);
    out << "\x55\xaa";
    out.close();
    fs::resize_file(image(0), kDiskBytes);
  }
  // What the guest has said on that host, complete lines only.
  std::vector<uint32_t> numbers(size_t host) const {
    std::ifstream in(cluster_->serial_log(host));
    std::vector<uint32_t> out;
    for (std::string line; std::getline(in, line) && !in.eof();)
      if (line.size() >= 8) out.push_back(static_cast<uint32_t>(std::stoul(line.substr(0, 8), nullptr, 16)));
    return out;
  }
  Status wait_numbers(size_t host, size_t more) {
    const size_t before = numbers(host).size();
    return cluster_->wait_until("the guest writing", kBoot,
                                [&]() -> Result<bool> { return numbers(host).size() >= before + more; });
  }
  uint32_t on_disk(size_t host, uint32_t number) const {
    std::ifstream in(image(host), std::ios::binary);
    in.seekg(static_cast<std::streamoff>((1 + number % kSlots) * kSectorBytes));
    std::array<char, 4> bytes{};
    in.read(bytes.data(), bytes.size());
    std::array<uint8_t, 4> raw{};
    std::copy(bytes.begin(), bytes.end(), raw.begin());
    return load_le<uint32_t>(raw.data());
  }
};

TEST_F(Ahci, AGuestOfTheFirmwareAloneGoesOnWithItsDisk) {
  ASSERT_NO_FATAL_FAILURE(create());
  for (size_t host = 0; host < demo::kHosts; ++host) write_vm_file(host);
  write_boot_sector();
  ASSERT_OK(cluster_->start_primary(0));
  ASSERT_OK(wait_numbers(0, 20));
  ASSERT_OK(cluster_->start_standby(1));
  ASSERT_OK(cluster_->wait_protected(0, kSync));
  ASSERT_OK(wait_numbers(0, 100));
  ASSERT_OK(cluster_->power_off(0));
  ASSERT_OK(cluster_->wait_role(1, "primary", kSoon));
  ASSERT_OK(wait_numbers(1, 100));
  EXPECT_LE(numbers(1).front(), numbers(0).back() + 1);
  ASSERT_OK(cluster_->power_on(0));
  ASSERT_OK(cluster_->start_standby(0));
  ASSERT_OK(cluster_->wait_protected(1, kSync));
  ASSERT_OK(wait_numbers(1, 20));
  ASSERT_OK(cluster_->daemon(1)->command("stop", {demo::kVmName}));
  for (size_t host = 0; host < demo::kHosts; ++host) ASSERT_OK(cluster_->wait_exit(host, kSoon));

  const std::vector<uint32_t> said = numbers(1);
  for (size_t i = 1; i < said.size(); ++i) ASSERT_EQ(said[i], said[i - 1] + 1);
  const uint32_t last = said.back();
  for (uint32_t n = last > kSlots ? last - kSlots + 2 : 1; n <= last; ++n) ASSERT_EQ(on_disk(1, n), n) << "of " << last;
  const auto compared = demo::run_command({"cmp", image(0).string(), image(1).string()});
  ASSERT_OK(compared);
  EXPECT_EQ(compared->exit_status, 0) << compared->output;
}

}  // namespace
}  // namespace us::e2e
