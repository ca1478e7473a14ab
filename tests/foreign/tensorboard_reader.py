"""Reads the event files of a run with TensorBoard's own package, and compares them with metrics.jsonl.

Usage: python tensorboard_reader.py RUN_FOLDER. Prints what it found in a line of JSON; fails if anything differs."""

import json
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

run = Path(sys.argv[1])
everything = {"scalars": 0, "images": 0, "histograms": 0, "tensors": 0}
events = EventAccumulator(str(run / "tensorboard"), size_guidance=everything)
events.Reload()
epochs = [json.loads(line) for line in (run / "metrics.jsonl").open() if '"kind":"epoch"' in line]


def f32(number):
    return struct.unpack("f", struct.pack("f", number))[0]


for tag, name in [("loss/train", "train_loss"), ("loss/test", "test_loss"), ("accuracy/test", "test_accuracy")]:
    found = [(event.step, event.value) for event in events.Scalars(tag)]
    assert found == [(line["steps"], f32(line[name])) for line in epochs], (tag, found)

weights = events.Histograms("weights/layer1")
assert [event.step for event in weights] == [line["steps"] for line in epochs]
histogram = weights[-1].histogram_value
assert histogram.num == sum(histogram.bucket) > 0

pictures = {}
for tag in events.Tags()["images"]:
    picture = events.Images(tag)[-1]
    assert picture.encoded_image_string.startswith(b"\x89PNG"), tag
    pictures[tag] = [picture.width, picture.height]

metadata = events.SummaryMetadata("_hparams_/session_start_info")
data = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
options = {name: getattr(value, value.WhichOneof("kind")) for name, value in data.session_start_info.hparams.items()}
metadata = events.SummaryMetadata("_hparams_/session_end_info")
data = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
print(json.dumps({"epochs": len(epochs), "pictures": pictures, "options": options, "status": data.session_end_info.status}))
