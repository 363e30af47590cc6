// Compiles one convolution, or one of its gradients, with oneDNN.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <tuple>

#include "oneapi/dnnl/dnnl.hpp"

namespace sidae_jax_native {

using dnnl::memory;
using Shape = std::array<int64_t, 4>;

enum class Pass { kForward, kInputGradient, kKernelGradient };

// Everything a program depends on. Shapes are in JAX's order: NHWC and, for the kernel, HWIO.
struct Problem {
  Pass pass;
  int64_t stride, padding;
  Shape x, kernel, y;
  memory::data_type operands, result;

  auto Fields() const { return std::tie(pass, stride, padding, x, kernel, y, operands, result); }
};

// Immutable once compiled, so that any number of threads can run it at once, each in a workspace of its own.
struct Program {
  dnnl::primitive convolution;
  dnnl::reorder reorder;  // between kernel and packed_kernel; empty if oneDNN takes the kernel as it is
  memory::desc x, kernel, packed_kernel, y;
  memory::desc scratchpad, reorder_scratchpad;

  // The workspace holds the packed kernel, then the scratchpads, which share their memory: they take turns.
  size_t PackedBytes() const { return reorder ? (packed_kernel.get_size() + 63) / 64 * 64 : 0; }
  // More follows, which nothing writes: oneDNN 3.2 reads up to 504 bytes past the end of its scratchpad (seen with pages
  // that cannot be read behind it: the kernel's gradient of bfloat16 operands in float32, 7x7 and 128 channels or more).
  size_t WorkspaceBytes() const {
    return PackedBytes() + std::max(scratchpad.get_size(), reorder_scratchpad.get_size()) + 4096;
  }
};

// oneDNN chooses the layout of the kernel itself ("any"): it is small and cheap to reorder. The large maps stay NHWC.
inline void CompileConvolution(const Problem& problem, const dnnl::engine& engine,
                               const dnnl::primitive_attr& attributes, Program& program) {
  const memory::dims strides{problem.stride, problem.stride}, padding{problem.padding, problem.padding};
  const auto any = memory::format_tag::any;
  const auto direct = dnnl::algorithm::convolution_direct;
  const memory::desc any_kernel(program.kernel.get_dims(), program.kernel.get_data_type(), any);
  const auto forward = [&](const memory::desc& x, const memory::desc& kernel, const memory::desc& y) {
    return dnnl::convolution_forward::primitive_desc(engine, dnnl::prop_kind::forward_training, direct, x, kernel, y,
                                                     strides, padding, padding, attributes);
  };
  const auto keep = [&](const auto& descriptor, const memory::desc& packed_kernel) {
    program.convolution = dnnl::primitive(descriptor);
    program.packed_kernel = packed_kernel;
    program.scratchpad = descriptor.scratchpad_desc();
  };
  if (problem.pass == Pass::kForward) {
    const auto descriptor = forward(program.x, any_kernel, program.y);
    return keep(descriptor, descriptor.weights_desc());
  }
  // Gradients need a forward convolution as a hint. All its arrays have the operands' dtype, because oneDNN lacks
  // forward convolutions of other mixtures, such as a float32 input with a bfloat16 kernel.
  const auto hinted = [&](const memory::desc& array, memory::format_tag tag) {
    return memory::desc(array.get_dims(), problem.operands, tag);
  };
  const auto nhwc = memory::format_tag::nhwc;
  const auto hint = forward(hinted(program.x, nhwc), hinted(program.kernel, any), hinted(program.y, nhwc));
  if (problem.pass == Pass::kInputGradient) {
    const dnnl::convolution_backward_data::primitive_desc descriptor(engine, direct, program.x, any_kernel, program.y,
                                                                     strides, padding, padding, hint, attributes);
    keep(descriptor, descriptor.weights_desc());
  } else {
    const dnnl::convolution_backward_weights::primitive_desc descriptor(
        engine, direct, program.x, any_kernel, program.y, strides, padding, padding, hint, attributes);
    keep(descriptor, descriptor.diff_weights_desc());
  }
}

// Throws dnnl::error if oneDNN cannot compute the problem on this processor.
inline Program Compile(const Problem& problem, const dnnl::engine& engine) {
  const auto type = [&](Pass result_of) { return problem.pass == result_of ? problem.result : problem.operands; };
  const auto& [n, h, w, c] = problem.x;
  const int64_t k = problem.kernel[0], f = problem.kernel[3], h2 = problem.y[1], w2 = problem.y[2];
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);  // by default oneDNN allocates it again in every call

  Program program;  // oneDNN names dimensions in the order NCHW and OIHW, whatever the layout in memory
  program.x = memory::desc({n, c, h, w}, type(Pass::kInputGradient), memory::format_tag::nhwc);
  program.kernel = memory::desc({f, c, k, k}, type(Pass::kKernelGradient), memory::format_tag::hwio);
  program.y = memory::desc({n, f, h2, w2}, type(Pass::kForward), memory::format_tag::nhwc);
  CompileConvolution(problem, engine, attributes, program);
  if (program.packed_kernel != program.kernel) {
    const bool unpacks = problem.pass == Pass::kKernelGradient;
    const auto& from = unpacks ? program.packed_kernel : program.kernel;
    const auto& to = unpacks ? program.kernel : program.packed_kernel;
    const dnnl::reorder::primitive_desc reorder(engine, from, engine, to, attributes);
    program.reorder = dnnl::reorder(reorder);
    program.reorder_scratchpad = reorder.scratchpad_desc();
  }
  return program;
}

}  // namespace sidae_jax_native
