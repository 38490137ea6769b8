// As much of a C library as a stage needs. An instance decides once and is thrown away, so nothing is ever freed.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern unsigned char __heap_base;
static uintptr_t next;

_Noreturn void abort(void) { __builtin_trap(); }

void *malloc(size_t size) {
  if (!next) next = (uintptr_t)&__heap_base;
  // The size stands in front of the block, for realloc.
  uintptr_t block = (next + 8 + 15) & ~(uintptr_t)15;
  uintptr_t end = block + size;
  uintptr_t have = __builtin_wasm_memory_size(0) * (uintptr_t)65536;
  if (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) / 65536) == (size_t)-1) abort();
  ((size_t *)block)[-1] = size;
  next = end;
  return (void *)block;
}

void *realloc(void *old, size_t size) {
  void *block = malloc(size);
  if (old) {
    size_t had = ((size_t *)old)[-1];
    memcpy(block, old, had < size ? had : size);
  }
  return block;
}

void free(void *block) { (void)block; }

__attribute__((no_builtin("memcpy"))) void *memcpy(void *to, const void *from, size_t size) {
  for (size_t at = 0; at < size; at++) ((unsigned char *)to)[at] = ((const unsigned char *)from)[at];
  return to;
}

__attribute__((no_builtin("memset"))) void *memset(void *to, int byte, size_t size) {
  for (size_t at = 0; at < size; at++) ((unsigned char *)to)[at] = (unsigned char)byte;
  return to;
}

int memcmp(const void *left, const void *right, size_t size) {
  const unsigned char *l = left, *r = right;
  for (size_t at = 0; at < size; at++)
    if (l[at] != r[at]) return l[at] - r[at];
  return 0;
}

__attribute__((no_builtin("strlen"))) size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length]) length++;
  return length;
}
