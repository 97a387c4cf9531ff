"""The exporter of Ultralytics, so that nothing is fetched and the bytes are the same on every run.

Ultralytics reads the environment when it is imported, and that is set here: import this module first.
"""

import logging
import os
import tempfile
import warnings

import onnx

_folder = tempfile.TemporaryDirectory(prefix="osprey-networks-")    # gone when the program ends
os.environ.setdefault("YOLO_AUTOINSTALL", "false")      # nothing is fetched while this runs
os.environ.setdefault("YOLO_OFFLINE", "true")
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ.setdefault("YOLO_CONFIG_DIR", _folder.name)


def export(network, **options):
    """A YOLO or RTDETR as an onnx.ModelProto, batch and size free. `options`: more of the exporter's."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)                # the exporter writes beside the working directory
        try:
            model = onnx.load(network.export(format="onnx", dynamic=True, **options))
        finally:
            os.chdir(here)
    for entry in model.metadata_props:
        if entry.key == "date":
            entry.value = "2026-01-01T00:00:00+00:00"
    del model.graph.value_info[:]       # onnxslim's dimension texts differ from run to run
    return model


def be_quiet():
    """Warnings of what is used here are not the reader's concern."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
