// What lives as long as the process: oneDNN's engine, the cache of programs, and the memory of their runs.
#pragma once

#include <algorithm>
#include <list>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "program.h"

namespace sidae_jax_native {

struct alignas(64) CacheLine {
  char bytes[64];
};
using Buffer = std::vector<CacheLine>;

// The step of training with the most, an autoencoder's at 224x224, needs 56 programs, an evaluation up to 13, and its last
// smaller batch as many again. Were there more in a step than fit, each would have been dropped before it is needed again.
constexpr size_t kCapacity = 128;

struct State {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  std::mutex mutex;                                                        // guards the two lists
  std::list<std::pair<Problem, std::shared_ptr<const Program>>> programs;  // the most recently used first
  std::list<Buffer> idle_workspaces;

  // Held while a kernel gradient is computed. Within those oneDNN's threads wait for each other by spinning: two at
  // once on the same cores keep each other from running (four at once on two cores took 100 times as long as one after
  // the other). The other passes do not wait, and run at once.
  std::mutex spinning;
};

// Created by the first call, once, as C++ guarantees of static variables of functions. Never destroyed: XLA's threads
// may still compute when the process exits.
inline State& GlobalState() {
  static State* const state = new State;
  return *state;
}

// Memory of one running call, for the packed kernel and for oneDNN's scratch. A call takes the buffer given back last,
// which the processor's caches may still hold, and enlarges it if needed. So there are as many buffers as calls ever
// ran at once, none larger than the largest call required.
class Workspace {
 public:
  explicit Workspace(size_t bytes) {
    State& state = GlobalState();
    {
      std::lock_guard<std::mutex> lock(state.mutex);
      if (!state.idle_workspaces.empty())
        mine_.splice(mine_.begin(), state.idle_workspaces, state.idle_workspaces.begin());
    }
    if (mine_.empty()) mine_.emplace_back();
    const size_t lines = (bytes + sizeof(CacheLine) - 1) / sizeof(CacheLine);
    if (mine_.front().size() < lines) {
      mine_.front() = Buffer();  // first frees the old memory
      mine_.front() = Buffer(lines);
    }
  }
  ~Workspace() {
    State& state = GlobalState();
    std::lock_guard<std::mutex> lock(state.mutex);
    state.idle_workspaces.splice(state.idle_workspaces.begin(), mine_);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  char* data() { return reinterpret_cast<char*>(mine_.front().data()); }

 private:
  std::list<Buffer> mine_;  // of one element: moving it between lists allocates nothing
};

// Compiles while it holds the lock, so that threads that need the same program do not compile it twice. Running
// programs do not hold it. An evicted program lives until the calls that run it end.
inline std::shared_ptr<const Program> FindOrCompile(const Problem& problem) {
  State& state = GlobalState();
  auto& programs = state.programs;
  std::lock_guard<std::mutex> lock(state.mutex);
  const auto found = std::find_if(programs.begin(), programs.end(),
                                  [&](const auto& entry) { return entry.first.Fields() == problem.Fields(); });
  if (found != programs.end()) {
    programs.splice(programs.begin(), programs, found);
  } else {
    programs.emplace_front(problem, std::make_shared<const Program>(Compile(problem, state.engine)));
    if (programs.size() > kCapacity) programs.pop_back();
  }
  return programs.front().second;
}

}  // namespace sidae_jax_native
