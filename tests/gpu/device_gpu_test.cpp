// GPU memory, copies, recorded graphs, and what happens without a GPU.
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.hpp"
#include "device/nvml.hpp"
#include "gpu/on_gpu.hpp"
#include "kernels/residual/residual.hpp"

namespace qsweep {
namespace {

using device::Buffer;
using device::MemoryClass;
using device::Place;

TEST(Gpu, WithoutOneTheGuardSaysWhy) {
  if (device::gpu_count() > 0) GTEST_SKIP() << "there is a GPU";
  try {
    device::open_gpu(0, 1, false);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(exit_code(error.kind()), 3);
    EXPECT_NE(std::string(error.what()).find("no GPU can be used ("), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("--backend cpu"), std::string::npos);
  }
}

TEST(Gpu, MoreRanksThanGpusAreRefused) {
  QSWEEP_NEEDS_GPU();
  EXPECT_THROW(device::open_gpu(0, device::gpu_count() + 1, false), Error);
  EXPECT_EQ(device::open_gpu(0, device::gpu_count() + 1, true).backend, device::Backend::cuda);
  EXPECT_TRUE(device::gpu_info().uuid.starts_with("GPU-"));
}

TEST(Gpu, BytesAreBookedByPlaceAndClass) {
  QSWEEP_NEEDS_GPU();
  test::gpu_context();
  const auto before = device::memory_usage(Place::gpu);
  const auto host_before = device::memory_usage(Place::host);
  {
    const Buffer a(1000, MemoryClass::weights, Place::gpu);
    const Buffer b(77, MemoryClass::workspace, Place::gpu);
    const auto now = device::memory_usage(Place::gpu);
    EXPECT_EQ(now.current[0] - before.current[0], 1000u);
    EXPECT_EQ(now.current[2] - before.current[2], 77u);
    EXPECT_EQ(device::memory_usage(Place::host).total(), host_before.total());
  }
  EXPECT_EQ(device::memory_usage(Place::gpu).total(), before.total());
}

TEST(Gpu, FreedWorkspaceIsUsedAgain) {
  QSWEEP_NEEDS_GPU();
  test::gpu_context();
  const void* first = Buffer(123456, MemoryClass::workspace, Place::gpu).data();
  EXPECT_EQ(Buffer(123456, MemoryClass::workspace, Place::gpu).data(), first);
}

TEST(Gpu, TooMuchIsAResourceError) {
  QSWEEP_NEEDS_GPU();
  test::gpu_context();
  try {
    const Buffer all(size_t{1} << 46, MemoryClass::weights, Place::gpu);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::resource);
  }
  // The next one works: no error sticks.
  const test::OnGpu<int> after({1, 2, 3});
  EXPECT_EQ(after.back(), (std::vector<int>{1, 2, 3}));
}

TEST(Gpu, GraphsReplayAndKeepTheirWorkspace) {
  QSWEEP_NEEDS_GPU();
  const device::Context context = test::gpu_context();
  test::OnGpu<float> h(std::vector<float>(64, 1.0f)), x(std::vector<float>(64, 2.0f));
  device::WorkspaceLease lease;
  device::Graph graph;
  const void* scratch = nullptr;
  lease.open();
  graph.capture(context, [&] {
    const Buffer inside(5000, MemoryClass::workspace, Place::gpu);
    scratch = inside.data();
    kernels::residual_add(context, x.data(), h.data(), 64);
  });
  lease.close();
  EXPECT_EQ(h.back()[0], 1.0f);  // recorded, not run
  EXPECT_NE(Buffer(5000, MemoryClass::workspace, Place::gpu).data(), scratch);
  for (int i = 0; i < 3; ++i) graph.launch(context);
  EXPECT_EQ(h.back()[63], 7.0f);
}

TEST(Nvml, ReadsAreAbsentOrPlausible) {
  EXPECT_EQ(device::throttle_text(0), "none");
  EXPECT_EQ(device::throttle_text(0x1), "none");  // idle is no throttling
  EXPECT_EQ(device::throttle_text(0x44), "sw_power_cap, hw_thermal_slowdown");
  const device::GpuReading nothing = device::read_gpu("GPU-00000000-0000-0000-0000-000000000000");
  EXPECT_FALSE(nothing.energy_j || nothing.sm_mhz || nothing.throttle);
  QSWEEP_NEEDS_GPU();
  test::gpu_context();
  const device::GpuReading reading = device::read_gpu(device::gpu_info().uuid);
  if (reading.sm_mhz) {
    EXPECT_GT(*reading.sm_mhz, 0);
    EXPECT_LT(*reading.sm_mhz, 5000);
  }
  if (reading.energy_j) {
    EXPECT_GT(*reading.energy_j, 0);
  }
}

}  // namespace
}  // namespace qsweep
