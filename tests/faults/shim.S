// A stub for each wrapped function, whatever its arguments: keeps all argument registers, asks
// shim_step, then jumps to the real function or returns the failure. System V x86-64.
#if defined(__x86_64__)
.text
.set index, 0
#define WRAP(name, result, error) stub name;
#define JPEG(name) stub name;

.macro stub name
    .globl __wrap_\name
    .type __wrap_\name, @function
__wrap_\name:
    .cfi_startproc
    endbr64
    push %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset %rbp, -16
    mov %rsp, %rbp
    .cfi_def_cfa_register %rbp
    sub $208, %rsp
    mov %rdi, 0(%rsp)
    mov %rsi, 8(%rsp)
    mov %rdx, 16(%rsp)
    mov %rcx, 24(%rsp)
    mov %r8, 32(%rsp)
    mov %r9, 40(%rsp)
    mov %rax, 48(%rsp)
    movups %xmm0, 64(%rsp)
    movups %xmm1, 80(%rsp)
    movups %xmm2, 96(%rsp)
    movups %xmm3, 112(%rsp)
    movups %xmm4, 128(%rsp)
    movups %xmm5, 144(%rsp)
    movups %xmm6, 160(%rsp)
    movups %xmm7, 176(%rsp)
    mov %rdi, %rsi
    mov $index, %edi
    lea 56(%rsp), %rdx
    call shim_step@PLT
    test %eax, %eax
    jne 1f
    mov 0(%rsp), %rdi
    mov 8(%rsp), %rsi
    mov 16(%rsp), %rdx
    mov 24(%rsp), %rcx
    mov 32(%rsp), %r8
    mov 40(%rsp), %r9
    mov 48(%rsp), %rax
    movups 64(%rsp), %xmm0
    movups 80(%rsp), %xmm1
    movups 96(%rsp), %xmm2
    movups 112(%rsp), %xmm3
    movups 128(%rsp), %xmm4
    movups 144(%rsp), %xmm5
    movups 160(%rsp), %xmm6
    movups 176(%rsp), %xmm7
    leave
    .cfi_remember_state
    .cfi_def_cfa %rsp, 8
    jmp __real_\name@PLT
1:
    .cfi_restore_state
    mov 56(%rsp), %rax
    leave
    .cfi_def_cfa %rsp, 8
    ret
    .cfi_endproc
    .size __wrap_\name, . - __wrap_\name
    .set index, index + 1
.endm

#include "wrapped.def"
#endif
.section .note.GNU-stack, "", @progbits
