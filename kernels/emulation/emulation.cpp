// The scheduler behind emulation.h. Switches are _setjmp/_longjmp: no signal mask, so no system call.
// Build without _FORTIFY_SOURCE, whose longjmp refuses to change stacks.
#include "emulation.h"

#include <csetjmp>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

namespace lk_emulation {

__thread Builtins builtins;

namespace {

constexpr size_t kStackBytes = 128 * 1024;
constexpr unsigned kMaxThreads = 1024;
constexpr size_t kMaxShared = 227 * 1024;  // Hopper's limit
constexpr size_t kMaxValue = 64;

enum class Run : uint8_t { kUnstarted, kReady, kRunning, kAtBarrier, kInWarp, kDone };

struct Fibre {
  jmp_buf context;
  unsigned char* memory = nullptr;
  size_t mapped = 0;
  bool started = false;
};

struct Thread {
  dim3 index;
  Run run;
  Fibre* fibre;
  uint32_t mask;
  int source;
  size_t bytes;
  WarpWork work;
  void* place;
  unsigned char value[kMaxValue], result[kMaxValue];
};

// All of one host thread's fibres and the block it is running; reused from launch to launch.
struct Scheduler {
  Thread threads[kMaxThreads];
  uint32_t waiting_lanes[kMaxThreads / 32];
  unsigned count = 0, done = 0, at_barrier = 0, current = 0;
  int status = kOk;
  bool reverse = false;
  Body body = nullptr;
  const void* args = nullptr;
  jmp_buf host;
  std::vector<std::unique_ptr<Fibre>> fibres;
  std::vector<Fibre*> idle;
  std::unique_ptr<unsigned char[]> shared;

  Scheduler() {
    fibres.reserve(kMaxThreads);
    idle.reserve(kMaxThreads);
    // A kernel that forgets a barrier may be right in one order of its threads: test both.
    const char* order = std::getenv("LOSSKIT_EMULATION_ORDER");
    reverse = order && std::strcmp(order, "reverse") == 0;
  }
  ~Scheduler() {
    for (auto& f : fibres) munmap(f->memory, f->mapped);
  }
};

Scheduler& scheduler() {
  static thread_local std::unique_ptr<Scheduler> s(new Scheduler);
  return *s;
}

// A fresh stack with an unreadable page below it, so that an overflow faults instead of corrupting.
Fibre* new_fibre(Scheduler& s) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE)), bytes = kStackBytes + page;
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  mprotect(p, page, PROT_NONE);
  s.fibres.emplace_back(new Fibre);
  Fibre* f = s.fibres.back().get();
  f->memory = static_cast<unsigned char*>(p);
  f->mapped = bytes;
  return f;
}

void make_current(Scheduler& s, unsigned t) {
  s.current = t;
  s.threads[t].run = Run::kRunning;
  builtins.thread = s.threads[t].index;
}

// The next thread that can run, in order from the current one; -1 when every thread waits or is done.
int next_thread(const Scheduler& s) {
  for (unsigned i = 1; i <= s.count; ++i) {
    unsigned t = s.current + (s.reverse ? s.count - i : i);
    if (t >= s.count) t -= s.count;
    const Run r = s.threads[t].run;
    if (r == Run::kReady || r == Run::kUnstarted) return static_cast<int>(t);
  }
  return -1;
}

[[noreturn]] void leave(Scheduler& s, int status) {
  s.status = status;
  _longjmp(s.host, 1);
}

void fibre_main() {
  Scheduler& s = scheduler();
  for (;;) {
    Fibre* const self = s.threads[s.current].fibre;
    s.body(s.args);
    s.threads[s.current].run = Run::kDone;
    ++s.done;
    const int next = next_thread(s);
    if (next < 0) {
      if (s.done != s.count) leave(s, kDivergentBarrier);
      s.idle.push_back(self);
      if (_setjmp(self->context) == 0) _longjmp(s.host, 1);
    } else if (s.threads[next].run == Run::kUnstarted) {
      // Nothing of the finished thread is left on this stack: run the next one on it.
      s.threads[next].fibre = self;
      make_current(s, static_cast<unsigned>(next));
    } else {
      s.idle.push_back(self);
      make_current(s, static_cast<unsigned>(next));
      if (_setjmp(self->context) == 0) _longjmp(s.threads[next].fibre->context, 1);
    }
  }
}

[[noreturn]] void enter(Fibre* f) {
  if (f->started) _longjmp(f->context, 1);
  f->started = true;
  ucontext_t start;
  getcontext(&start);
  start.uc_stack.ss_sp = f->memory + (f->mapped - kStackBytes);
  start.uc_stack.ss_size = kStackBytes;
  start.uc_link = nullptr;
  makecontext(&start, fibre_main, 0);
  setcontext(&start);
  abort();
}

// Makes `t`, unstarted, the current thread and gives it a fibre; null when there is no memory for one.
Fibre* begin(Scheduler& s, unsigned t) {
  Fibre* f;
  if (s.idle.empty()) {
    f = new_fibre(s);
    if (!f) return nullptr;
  } else {
    f = s.idle.back();
    s.idle.pop_back();
  }
  s.threads[t].fibre = f;
  make_current(s, t);
  return f;
}

// Leaves the current thread until somebody has made it ready again.
__attribute__((noinline)) void suspend(Scheduler& s) {
  Fibre* const self = s.threads[s.current].fibre;
  const int next = next_thread(s);
  if (next < 0) leave(s, kDivergentBarrier);
  if (_setjmp(self->context) != 0) return;
  if (s.threads[next].run == Run::kUnstarted) {
    Fibre* f = begin(s, static_cast<unsigned>(next));
    if (!f) leave(s, kOutOfMemory);
    enter(f);
  }
  make_current(s, static_cast<unsigned>(next));
  _longjmp(s.threads[next].fibre->context, 1);
}

__attribute__((noinline)) int run_block(Scheduler& s) {
  s.done = s.at_barrier = 0;
  s.status = kOk;
  for (unsigned t = 0; t < s.count; ++t) s.threads[t].run = Run::kUnstarted;
  std::memset(s.waiting_lanes, 0, sizeof s.waiting_lanes);
  if (_setjmp(s.host) == 0) {
    Fibre* f = begin(s, s.reverse ? s.count - 1 : 0);
    if (!f) return kOutOfMemory;
    enter(f);
  }
  if (s.status != kOk) {
    // Threads were abandoned inside the kernel: every fibre starts afresh next time.
    s.idle.clear();
    for (auto& f : s.fibres) {
      f->started = false;
      s.idle.push_back(f.get());
    }
  }
  return s.status;
}

}  // namespace

int lane() { return static_cast<int>(scheduler().current & 31); }

void block_barrier() {
  Scheduler& s = scheduler();
  if (++s.at_barrier < s.count) {
    s.threads[s.current].run = Run::kAtBarrier;
    suspend(s);
    return;
  }
  s.at_barrier = 0;
  for (unsigned t = 0; t < s.count; ++t) {
    if (s.threads[t].run == Run::kAtBarrier) s.threads[t].run = Run::kReady;
  }
}

namespace {

// Waits for all lanes of `mask`. The last to arrive acts for all, so that nothing is overwritten before it is read:
// act(first thread, lanes, those required), false if they have come for different things.
template <class Act>
void meet(Scheduler& s, uint32_t mask, Act act) {
  const unsigned me = s.current, first = me & ~31u, lanes = s.count - first < 32 ? s.count - first : 32;
  const uint32_t required = lanes == 32 ? mask : mask & ((1u << lanes) - 1);
  uint32_t& waiting = s.waiting_lanes[first / 32];
  if (!(required >> (me - first) & 1)) leave(s, kWarpMaskMismatch);
  s.threads[me].mask = mask;
  waiting |= 1u << (me - first);
  if ((waiting & required) != required) {
    s.threads[me].run = Run::kInWarp;
    suspend(s);
    return;
  }
  waiting &= ~required;
  for (unsigned l = 0; l < lanes; ++l) {
    if (required >> l & 1 && s.threads[first + l].mask != mask) leave(s, kWarpMaskMismatch);
  }
  if (!act(first, lanes, required)) leave(s, kWarpMaskMismatch);
  for (unsigned l = 0; l < lanes; ++l) {
    Thread& to = s.threads[first + l];
    if (required >> l & 1 && to.run == Run::kInWarp) to.run = Run::kReady;
  }
}

}  // namespace

void warp_exchange(uint32_t mask, int source, void* value, size_t bytes) {
  Scheduler& s = scheduler();
  Thread& self = s.threads[s.current];
  self.source = source;
  self.bytes = bytes;
  self.work = nullptr;
  if (bytes) std::memcpy(self.value, value, bytes);
  meet(s, mask, [&](unsigned first, unsigned lanes, uint32_t required) {
    for (unsigned l = 0; l < lanes; ++l) {
      if (!(required >> l & 1)) continue;
      Thread& to = s.threads[first + l];
      if (to.work || to.bytes != bytes) return false;
      const bool there = to.source >= 0 && to.source < static_cast<int>(lanes) && (required >> to.source & 1);
      if (bytes) std::memcpy(to.result, s.threads[there ? first + to.source : first + l].value, bytes);
    }
    return true;
  });
  if (bytes) std::memcpy(value, self.result, bytes);
}

void warp_together(void* place, WarpWork work) {
  Scheduler& s = scheduler();
  s.threads[s.current].work = work;
  s.threads[s.current].place = place;
  meet(s, 0xffffffffu, [&](unsigned first, unsigned lanes, uint32_t) {
    void* places[32];
    for (unsigned l = 0; l < 32; ++l) {
      if (l >= lanes || s.threads[first + l].work != work) return false;
      places[l] = s.threads[first + l].place;
    }
    work(places);
    return true;
  });
}

int launch(dim3 grid, dim3 block, size_t shared_bytes, Body body, const void* args) {
  const uint64_t count = static_cast<uint64_t>(block.x) * block.y * block.z;
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) return kBadLaunch;
  if (!count || count > kMaxThreads || block.z > 64 || shared_bytes > kMaxShared) return kBadLaunch;
  Scheduler& s = scheduler();
  if (!s.shared) s.shared.reset(new (std::nothrow) unsigned char[kMaxShared]);
  if (!s.shared) return kOutOfMemory;
  s.count = static_cast<unsigned>(count);
  s.body = body;
  s.args = args;
  for (unsigned t = 0; t < s.count; ++t) {
    s.threads[t].index = {t % block.x, t / block.x % block.y, t / (block.x * block.y)};
  }
  builtins.block_dim = block;
  builtins.grid_dim = grid;
  builtins.shared = s.shared.get();
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        builtins.block = {x, y, z};
        // Not zero: on the device, too, shared memory starts with anything.
        std::memset(s.shared.get(), 0xff, shared_bytes);
        if (const int status = run_block(s)) return status;
      }
    }
  }
  return kOk;
}

}  // namespace lk_emulation
