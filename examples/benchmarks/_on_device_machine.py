"""Part "machine" of ``on_device.py``: what the numbers depend on beside the host."""

import subprocess
import time

from _on_device_clock import plain

QUERY = (
    "name,driver_version,persistence_mode,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.draw,power.limit,"
    "temperature.gpu,utilization.gpu,memory.used,memory.total"
)


def run(settings, emit):
    """Versions, the device, its clocks, and the time until it has multiplied once."""
    import torch

    emit({"what": "torch"} | _versions(torch))
    emit({"what": "tool of the driver"} | clocks())
    device = plain(settings["device"])
    start = time.perf_counter()
    ones = torch.ones((64, 64), device=device)
    total = float((ones @ ones).sum())
    emit({"what": "first product", "seconds": time.perf_counter() - start, "is_right": total == 64.0**3})
    if device.startswith("cuda"):
        emit({"what": "device"} | _properties(torch, device))


def _versions(torch):
    """torch, what it was built for, and its threads and switches."""
    matmul = torch.backends.cuda.matmul
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "threads": torch.get_num_threads(),
        "float32_products": getattr(matmul, "fp32_precision", None) or torch.get_float32_matmul_precision(),
    }


def _properties(torch, device):
    """What torch knows of the device."""
    found = torch.cuda.get_device_properties(device)
    free, total = torch.cuda.mem_get_info(device)
    return {
        "name": found.name,
        "capability": f"{found.major}.{found.minor}",
        "processors": found.multi_processor_count,
        "memory_gb": total / 1e9,
        "free_gb": free / 1e9,
        "n_devices": torch.cuda.device_count(),
    }


def clocks():
    """Clocks, power and temperature of the first device as the driver's own tool tells them, where it is there."""
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=8, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return {"missing": type(error).__name__}
    values = [value.strip() for value in found.splitlines()[0].split(",")]
    return dict(zip(QUERY.split(","), values, strict=True))
