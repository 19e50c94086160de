"""What machine code tells without a GPU: every kernel compiles for every architecture, within its registers."""

import importlib.util
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from nanostyle.backend.gpu import launch
from tests.cuda_on_cpu.emulator import VARIANTS

NVCC = shutil.which("nvcc")
# NANOSTYLE_TEST_NVCC=every compiles every variant: minutes.
EVERY = os.environ.get("NANOSTYLE_TEST_NVCC") == "every"
pytestmark = pytest.mark.skipif(NVCC is None, reason="nvcc is not installed")

# Turing has tensor cores, but neither cp.async nor TF32; from Ampere on the source is the same.
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
PRODUCTS = ("conv", "wgrad")
# A block of 256 threads leaves each 255; with 128 two blocks share a multiprocessor.
MOST_REGISTERS = 255


def cuobjdump():
    """The disassembler: of the toolkit, or of the package nvidia-cuda-cuobjdump; it needs nvdisasm beside it."""
    found = shutil.which("cuobjdump")
    spec = importlib.util.find_spec("nvidia")
    for home in spec.submodule_search_locations if spec else []:
        found = found or next((str(p) for p in Path(home).rglob("bin/cuobjdump")), None)
    return found if found and (Path(found).with_name("nvdisasm").exists() or shutil.which("nvdisasm")) else None


class Compiled:
    """One file with its macros, compiled for some architectures: the report on registers, and the machine code."""

    def __init__(self, folder, file, macros, architectures):
        self.file, self.macros, self.architectures = file, macros, architectures
        name = "-".join([file, *(f"{k}{v}" for k, v in macros.items())])
        source = folder / f"{name}.cu"
        source.write_text(launch.source(file))
        self.fatbin = folder / f"{name}.fatbin"
        codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
        defines = [f"-D{k}={v}" for k, v in macros.items()]
        run = subprocess.run(
            [NVCC, "-std=c++17", "-fatbin", "-Xptxas", "-v", *codes, *defines, str(source), "-o", str(self.fatbin)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, f"{name}: {run.stderr}"
        self.report = run.stderr

    def plain_conv(self):
        """Convolution without tensor cores."""
        return self.file == "conv" and not (self.macros["HALF"] or self.macros["TF32"])

    def kernels(self):
        """Kernel, architecture, and what ptxas says of it."""
        pattern = r"Compiling entry function '(\w+)' for 'sm_(\d+)'(.*?)Used (\d+) registers"
        for name, architecture, properties, registers in re.findall(pattern, self.report, re.DOTALL):
            yield name, int(architecture), properties, int(registers)

    @cache  # noqa: B019
    def code(self, architecture):
        """The machine code of each kernel."""
        command = [cuobjdump(), "-sass", "-arch", f"sm_{architecture}", str(self.fatbin)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        parts = re.split(r"Function : (\w+)", text)
        return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """One variant of each file, of products the largest, for all architectures; if wished all others for Hopper."""
    folder = tmp_path_factory.mktemp("machine code")
    jobs, seen = [], set()
    for file, macros in VARIANTS:
        largest = file not in PRODUCTS or (macros["HALF"], macros["BN"]) == (1, 128)
        every = file not in seen and largest
        seen |= {file} if every else set()
        if every or EVERY:
            jobs.append((folder, file, macros, ARCHITECTURES if every else (90,)))
    jobs.sort(key=lambda job: -len(job[3]))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(lambda job: Compiled(*job), jobs))


def test_every_kernel_compiles_for_every_architecture(compiled):
    found = {(unit.file, name, architecture) for unit in compiled for name, architecture, *_ in unit.kernels()}
    for path in launch.folder().glob("*.cu"):
        for name in re.findall(r"__global__ void __launch_bounds__\([^)]*\) (\w+)\(", path.read_text()):
            missing = [a for a in ARCHITECTURES if (path.stem, name, a) not in found]
            assert not missing, f"{path.name}: {name} for sm_{missing}"


def test_nothing_is_spilled_and_registers_are_bounded(compiled):
    for unit in compiled:
        for name, architecture, properties, registers in unit.kernels():
            what = f"{name} of {unit.file} {unit.macros}, sm_{architecture}"
            assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in properties, what
            alone = unit.file in PRODUCTS and unit.macros["BN"] >= (64 if unit.plain_conv() else 128)
            bound = MOST_REGISTERS if alone else 128
            assert registers <= bound, f"{what}: {registers} registers"


@pytest.mark.skipif(cuobjdump() is None, reason="cuobjdump is not installed")
def test_products_run_on_tensor_cores_and_copy_in_the_background(compiled):
    """HMMA multiplies, LDSM reads matrices from shared memory, LDGSTS copies there; LDL and STL would be spills."""
    for unit in compiled:
        if unit.file not in PRODUCTS:
            continue
        half, tf32 = unit.macros["HALF"], unit.macros["TF32"]
        for architecture in unit.architectures:
            code = unit.code(architecture)[unit.file]
            what = f"{unit.file} {unit.macros}, sm_{architecture}"
            on_tensor_cores = half or (tf32 and architecture >= 80)
            assert ("HMMA" in code) == bool(on_tensor_cores), what
            assert ("LDGSTS" in code) == (architecture >= 80), what
            # 32-bit numbers cannot be read transposed, so wgrad reads those one by one.
            if half or (on_tensor_cores and unit.file == "conv"):
                assert "LDSM" in code, what
            assert not re.search(r"\b(LDL|STL)\b", code), what
