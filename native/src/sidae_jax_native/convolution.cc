// oneDNN's convolutions as XLA custom calls for CPUs: a convolution and its gradients to the input and to the kernel.
//
// A convolution has three arrays: x [n, h, w, c], kernel [k, k, c, f] and y [n, h2, w2, f]. Each handler computes one
// of them (or, for a gradient, an array of its shape) from the other two. The operands are both float32 or both
// bfloat16; the result is float32 or has the dtype of the operands. Sums are float32.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>

#include "program.h"
#include "state.h"
#include "xla/ffi/api/ffi.h"

namespace sidae_jax_native {
namespace {

namespace ffi = xla::ffi;

struct Arrays {
  ffi::AnyBuffer x, kernel, y;
};

void Require(bool condition, const char* sentence) {
  if (!condition) throw std::invalid_argument(sentence);
}

memory::data_type DataType(const ffi::AnyBuffer& buffer) {
  const ffi::DataType type = buffer.element_type();
  Require(type == ffi::DataType::F32 || type == ffi::DataType::BF16, "the arrays must be float32 or bfloat16");
  return type == ffi::DataType::F32 ? memory::data_type::f32 : memory::data_type::bf16;
}

Shape ShapeOf(const ffi::AnyBuffer& buffer) {
  const auto dimensions = buffer.dimensions();
  Require(dimensions.size() == 4, "the arrays must have four dimensions: x is NHWC, the kernel HWIO, y NHWC");
  return {dimensions[0], dimensions[1], dimensions[2], dimensions[3]};
}

Arrays Assign(Pass pass, ffi::AnyBuffer first, ffi::AnyBuffer second, ffi::AnyBuffer result) {
  if (pass == Pass::kForward) return {first, second, result};        // x, kernel -> y
  if (pass == Pass::kInputGradient) return {result, second, first};  // dy, kernel -> dx
  return {first, result, second};                                    // x, dy -> dkernel
}

// Throws std::invalid_argument, with a sentence for the user, if the shapes do not belong to one convolution.
void CheckShapes(const Problem& problem) {
  const Shape &x = problem.x, &kernel = problem.kernel, &y = problem.y;
  const int64_t size = kernel[0], stride = problem.stride, padding = problem.padding;
  Require(size >= 1 && kernel[1] == size, "the kernel must be square");
  Require(stride == 1 || stride == 2, "the stride must be 1 or 2");
  Require(padding >= 0 && padding < size, "the padding must be at least 0 and smaller than the kernel");
  Require(x[0] == y[0], "x and y must have the same number of images");
  Require(x[3] == kernel[2], "the channels of x must be the kernel's input channels");
  Require(y[3] == kernel[3], "the channels of y must be the kernel's output channels");
  for (int axis : {1, 2}) {
    const int64_t slack = x[axis] + 2 * padding - size;
    Require(slack >= 0, "the padded x must be at least as large as the kernel");
    Require(y[axis] == slack / stride + 1, "the height and width of y must be (size + 2 padding - k) / stride + 1");
  }
}

// Throws std::invalid_argument for what oneDNN 3.2 computes wrongly. __init__.py has others compute it.
void CheckForErrorsOfOneDnn(const Problem& problem) {
  const int64_t size = problem.kernel[0], stride = problem.stride, padding = problem.padding;
  // gradients to such kernels write past the end of their memory (AVX-512) or are wrong (AVX2), where the channels do not
  // fill a vector
  Require(size > 1 || stride == 1, "a 1x1 kernel must have stride 1");
  if (problem.pass != Pass::kKernelGradient || problem.operands != memory::data_type::bf16) return;
  for (int axis : {1, 2}) {  // the elements that meet only padding take other values, or memory that nobody has written
    Require(stride * (problem.y[axis] - 1) >= padding && problem.x[axis] >= size - padding,
            "the gradient to a kernel with rows or columns that meet only padding must have float32 operands");
  }
}

void Run(const Program& program, Pass pass, const Arrays& arrays) {
  State& state = GlobalState();
  const dnnl::engine& engine = state.engine;
  std::unique_lock<std::mutex> one_at_a_time(state.spinning, std::defer_lock);
  if (pass == Pass::kKernelGradient) one_at_a_time.lock();
  Workspace workspace(program.WorkspaceBytes());
  char* const scratch = workspace.data() + program.PackedBytes();  // shared: the reorder and the convolution take turns
  const memory x(program.x, engine, arrays.x.untyped_data()), y(program.y, engine, arrays.y.untyped_data());
  const memory kernel(program.kernel, engine, arrays.kernel.untyped_data());
  const memory packed = program.reorder ? memory(program.packed_kernel, engine, workspace.data()) : kernel;
  const memory scratchpad(program.scratchpad, engine, scratch);
  const memory reorder_scratchpad(program.reorder_scratchpad, engine, scratch);
  dnnl::stream stream(engine);
  const auto reorder = [&](const memory& from, const memory& to) {
    if (!program.reorder) return;
    program.reorder.execute(stream,
                            {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}, {DNNL_ARG_SCRATCHPAD, reorder_scratchpad}});
  };
  const auto convolve = [&](int x_name, int kernel_name, int y_name) {
    program.convolution.execute(stream,
                                {{x_name, x}, {kernel_name, packed}, {y_name, y}, {DNNL_ARG_SCRATCHPAD, scratchpad}});
  };
  if (pass != Pass::kKernelGradient) reorder(kernel, packed);
  if (pass == Pass::kForward) convolve(DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST);
  if (pass == Pass::kInputGradient) convolve(DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_DST);
  if (pass == Pass::kKernelGradient) {
    convolve(DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_DST);
    reorder(packed, kernel);
  }
  stream.wait();
}

template <Pass pass>
ffi::Error Convolve(ffi::AnyBuffer first, ffi::AnyBuffer second, ffi::Result<ffi::AnyBuffer> result, int64_t stride,
                    int64_t padding) try {
  const Arrays arrays = Assign(pass, first, second, *result);
  const Problem problem{pass,
                        stride,
                        padding,
                        ShapeOf(arrays.x),
                        ShapeOf(arrays.kernel),
                        ShapeOf(arrays.y),
                        DataType(first),
                        DataType(*result)};
  Require(DataType(second) == problem.operands, "the two operands must have the same dtype");
  Require(problem.result == problem.operands || problem.result == memory::data_type::f32,
          "the result must be float32 or have the dtype of the operands");
  CheckShapes(problem);
  CheckForErrorsOfOneDnn(problem);
  if (first.element_count() == 0 || second.element_count() == 0 || result->element_count() == 0) {
    std::memset(result->untyped_data(), 0, result->size_bytes());  // empty sums, which oneDNN may not write
  } else {
    Run(*FindOrCompile(problem), pass, arrays);
  }
  return ffi::Error::Success();
} catch (const std::invalid_argument& error) {
  return ffi::Error::InvalidArgument(std::string("sidae_jax_native: ") + error.what());
} catch (const std::exception& error) {
  return ffi::Error::Internal(std::string("sidae_jax_native (bfloat16 needs AVX-512): oneDNN: ") + error.what());
}

auto Binding() {
  return ffi::Ffi::Bind()
      .Arg<ffi::AnyBuffer>()
      .Arg<ffi::AnyBuffer>()
      .Ret<ffi::AnyBuffer>()
      .Attr<int64_t>("stride")
      .Attr<int64_t>("padding");
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(convolution_forward, Convolve<Pass::kForward>, Binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(convolution_input_gradient, Convolve<Pass::kInputGradient>, Binding());
XLA_FFI_DEFINE_HANDLER_SYMBOL(convolution_kernel_gradient, Convolve<Pass::kKernelGradient>, Binding());

// Writes the number of programs in the cache, their limit, the number of idle workspaces and the bytes of these.
extern "C" void cache_sizes(int64_t* sizes) {
  State& state = GlobalState();
  std::lock_guard<std::mutex> lock(state.mutex);
  int64_t bytes = 0;
  for (const Buffer& buffer : state.idle_workspaces) bytes += buffer.size() * sizeof(CacheLine);
  sizes[0] = state.programs.size();
  sizes[1] = kCapacity;
  sizes[2] = state.idle_workspaces.size();
  sizes[3] = bytes;
}

// Whether oneDNN may use instructions for bfloat16: AVX512_BF16, or those of AMX.
extern "C" int has_bfloat16() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::avx512_core_bf16:
    case dnnl::cpu_isa::avx512_core_fp16:
    case dnnl::cpu_isa::avx512_core_amx:
    case dnnl::cpu_isa::avx512_core_amx_fp16:
      return 1;
    default:
      return 0;
  }
}

}  // namespace sidae_jax_native
