// The guest of the KVM probe, in machine code: firmware that starts at the reset vector and uses no BIOS.
//
//   16 bit   reset vector 0xffff0 -> start16: load the GDT, protected mode on
//   32 bit   page tables at 0x10000 (the first GiB and the local APIC's page, identity), long mode on
//   64 bit   IDT at 0x13000; int3 must reach its handler and return; an SSE2 instruction; then the local APIC's timer
//            must interrupt four times while the processor halts
//   end      21 to the exit port: all went well; 3: an exception did not arrive
//
// The image is seen at 0xf0000 (and below 4 GiB).  Descriptors have their accessed bit set already: the processor would
// otherwise write it, into ROM.
#include <string>

#include "qemu/accelerator.h"

extern "C" {
extern const char us_probe_guest_begin[];
extern const char us_probe_guest_end[];
}

asm(R"(
    .pushsection .rodata
    .globl us_probe_guest_begin, us_probe_guest_end
    .set us_base, 0xf0000
    .set us_pml4, 0x10000
    .set us_pdpt, 0x11000
    .set us_pd_low, 0x12000
    .set us_idt, 0x13000
    .set us_pd_apic, 0x14000
    .set us_stack, 0x9000
    .balign 16
us_probe_guest_begin:
    .code16
    cli
    ljmp $0xf000, $(us_start16 - us_probe_guest_begin)
us_start16:
    movw %cs, %ax
    movw %ax, %ds
    lgdtl us_gdt_pointer - us_probe_guest_begin
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $0x08, $(us_base + us_start32 - us_probe_guest_begin)

    .code32
us_start32:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $us_stack, %esp
    movl $us_pml4, %edi
    xorl %eax, %eax
    movl $0x1400, %ecx
    rep stosl
    movl $(us_pdpt + 3), us_pml4
    movl $(us_pd_low + 3), us_pdpt
    movl $(us_pd_apic + 3), us_pdpt + 3 * 8
    movl $0xfee00083, us_pd_apic + 0x1f7 * 8
    movl $us_pd_low, %edi
    movl $0x83, %eax
    movl $512, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b
    movl %cr4, %eax
    orl $0x220, %eax            # PAE, and OSFXSR for SSE
    movl %eax, %cr4
    movl $us_pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      # EFER.LME
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000002, %eax       # PG, MP
    andl $0xfffffffb, %eax      # not EM
    movl %eax, %cr0
    ljmpl $0x18, $(us_base + us_start64 - us_probe_guest_begin)

    .code64
us_start64:
    movl $us_idt + 3 * 16, %edi
    movl $(us_base + us_on_breakpoint - us_probe_guest_begin), %eax
    call us_set_gate
    movl $us_idt + 0x20 * 16, %edi
    movl $(us_base + us_on_timer - us_probe_guest_begin), %eax
    call us_set_gate
    lidt us_base + us_idt_pointer - us_probe_guest_begin
    xorl %ebx, %ebx
    int3
    cmpl $1, %ebx
    jne us_failed
    movq %rbx, %xmm0
    paddq %xmm0, %xmm0
    xorl %eax, %eax
    cpuid
    xorl %ebx, %ebx
    movl $0xfee00000, %esi
    movl $0x1ff, 0xf0(%rsi)     # spurious vector register: APIC on
    movl $0x0b, 0x3e0(%rsi)     # divide by 1
    movl $0x20020, 0x320(%rsi)  # timer: periodic, vector 0x20
    movl $100000, 0x380(%rsi)
    sti
2:  hlt
    cmpl $4, %ebx
    jb 2b
    movb $21, %al
    outb %al, $0xf4
us_failed:
    movb $3, %al
    outb %al, $0xf4
3:  hlt
    jmp 3b
us_set_gate:
    movw %ax, (%rdi)
    movw $0x18, 2(%rdi)
    movw $0x8e00, 4(%rdi)
    shrl $16, %eax
    movw %ax, 6(%rdi)
    ret
us_on_breakpoint:
    incl %ebx
    iretq
us_on_timer:
    incl %ebx
    movl $0, 0xb0(%rsi)         # end of interrupt
    iretq

    .balign 8
us_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    # 0x08: 32-bit code
    .quad 0x00cf93000000ffff    # 0x10: data
    .quad 0x00af9b000000ffff    # 0x18: 64-bit code
us_gdt_pointer:
    .word 31
    .long us_base + us_gdt - us_probe_guest_begin
us_idt_pointer:
    .word 0x21 * 16 - 1
    .quad us_idt
us_probe_guest_end:
    .code64
    .popsection
)");

namespace us {

std::string probe_guest_image() {
  constexpr size_t kImageSize = 0x10000;
  constexpr size_t kResetVector = 0xfff0;
  std::string image(us_probe_guest_begin, us_probe_guest_end);
  image.resize(kImageSize, '\0');
  image[kResetVector] = '\xe9';  // jmp to offset 0: 16-bit displacement from the next instruction
  const unsigned displacement = kImageSize - (kResetVector + 3);
  image[kResetVector + 1] = static_cast<char>(displacement & 0xff);
  image[kResetVector + 2] = static_cast<char>(displacement >> 8);
  return image;
}

}  // namespace us
