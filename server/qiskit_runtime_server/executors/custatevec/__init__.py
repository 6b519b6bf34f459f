"""The executor `custatevec`: state vectors on NVIDIA GPUs, straight on cuQuantum's Python bindings.

Only `device_states` speaks to a GPU; everything above `port` is plain NumPy and also runs on `numpy_states`.
"""
