"""benchmarks/program_cost.py on small programs, counted by hand."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "benchmarks"))
from program_cost import program_cost


def cost(lines, before=""):
    return program_cost(f"HloModule small\n\n{before}\nENTRY %main (p: f32[8]) -> f32[8] {{\n{lines}\n}}\n")


def test_a_product_and_a_fusion_that_reads_a_slice():
    before = """%fused (p.1: f32[100,8], p.2: s32[]) -> f32[1,8] {
  %p.1 = f32[100,8]{1,0} parameter(0)
  %p.2 = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %row = f32[1,8]{1,0} dynamic-slice(%p.1, %p.2, %zero), dynamic_slice_sizes={1,8}
}
"""
    found = cost(
        """  %rows = f32[100,8]{1,0} parameter(0)
  %place = s32[] parameter(1)
  %matrix = bf16[8,4]{1,0} parameter(2)
  %one = f32[1,8]{1,0} fusion(%rows, %place), kind=kLoop, calls=%fused
  ROOT %dot.1 = f32[1,4]{1,0} dot(%one, %matrix), lhs_contracting_dims={1}, rhs_contracting_dims={0}""",
        before,
    )
    assert [kernel.operation for kernel in found.kernels] == ["fusion", "dot"]
    assert [kernel.bytes for kernel in found.kernels] == [8 * 4 + 4 + 8 * 4, 8 * 4 + 8 * 4 * 2 + 4 * 4]
    assert found.flops == 2 * 8 * 4


def test_copies_between_a_tpu_s_memories():
    """Tiled layouts, nested in tuples; the slices of one array lie side by side where they are copied to."""
    found = cost(
        """  %p = bf16[256,128]{1,0:T(8,128)(2,1)} parameter(0)
  %copy-start = (bf16[256,128]{1,0:T(8,128)(2,1)S(1)}, bf16[256,128]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) copy-start(%p)
  %copy-done = bf16[256,128]{1,0:T(8,128)(2,1)S(1)} copy-done(%copy-start)
  %s.1 = ((bf16[256,128]{1,0:T(8,128)(2,1)}), bf16[64,128]{1,0:T(8,128)(2,1)S(1)}, s32[]{:S(2)}) slice-start(%p), slice={[0:64], [0:128]}
  %s.2 = ((bf16[256,128]{1,0:T(8,128)(2,1)}), bf16[192,128]{1,0:T(8,128)(2,1)S(1)}, s32[]{:S(2)}) slice-start(%p), slice={[64:256], [0:128]}
  %d.1 = bf16[64,128]{1,0:T(8,128)(2,1)S(1)} slice-done(%s.1)
  %d.2 = bf16[192,128]{1,0:T(8,128)(2,1)S(1)} slice-done(%s.2)
  ROOT %all = bf16[256,128]{1,0:T(8,128)(2,1)S(1)} custom-call(%d.1, %d.2), custom_call_target="ConcatBitcast\""""  # noqa: E501
    )
    assert [kernel.operation for kernel in found.kernels] == ["copy-start", "slice-start", "slice-start"]
    row = 128 * 2
    assert [kernel.bytes for kernel in found.kernels] == [2 * 256 * row, 2 * 64 * row, 2 * 192 * row]


def test_collectives_have_the_bytes_of_their_results():
    found = cost(
        """  %p = f32[2,8]{1,0} parameter(0)
  %start = (f32[2,8]{1,0}, f32[16,8]{1,0}) all-gather-start(%p), dimensions={0}, replica_groups=[1,8]<=[8]
  %gathered = f32[16,8]{1,0} all-gather-done(%start)
  %sum-start = f32[2,8]{1,0} all-reduce-start(%p), to_apply=%add
  %sum = f32[2,8]{1,0} all-reduce-done(%sum-start)
  ROOT %both = (f32[2,8]{1,0}, f32[4]{0}) all-reduce(%sum, %p), to_apply=%add"""
    )
    assert found.collectives() == {"all-gather": (1, 16 * 8 * 4), "all-reduce": (2, 2 * (2 * 8 * 4) + 4 * 4)}
    assert [kernel.bytes for kernel in found.kernels] == [64 + 512, 64 + 64, 64 + 64 + 64 + 16]


BRANCHES = """%negated (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  ROOT %n = f32[8]{0} negate(%x)
}

%twice (y: f32[8]) -> f32[8] {
  %y = f32[8]{0} parameter(0)
  %a = f32[8]{0} negate(%y)
  ROOT %b = f32[8]{0} cosine(%a)
}
"""


@pytest.mark.parametrize(
    "branches", ["branch_computations={%negated, %twice}", "true_computation=%twice, false_computation=%negated"]
)
def test_of_a_conditional_the_costliest_branch_counts(branches):
    lines = f"""  %p = f32[8]{{0}} parameter(0)
  %which = s32[] parameter(1)
  ROOT %c = f32[8]{{0}} conditional(%which, %p, %p), {branches}"""
    found = cost(lines, BRANCHES)
    assert [kernel.operation for kernel in found.kernels] == ["negate", "cosine"]
    assert found.bytes == 4 * 8 * 4


def test_a_dtype_without_known_bytes_is_no_zero():
    with pytest.raises(ValueError, match=r"f4e2m1fn\[8\]\{0\} has a dtype whose bytes are not known"):
        cost("  %p = f4e2m1fn[8]{0} parameter(0)\n  ROOT %n = f4e2m1fn[8]{0} negate(%p)")
