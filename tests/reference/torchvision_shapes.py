"""Names and shapes in state dicts of torchvision's ResNets without `fc` and counters, by hand. No PyTorch."""

NORM = ("weight", "bias", "running_mean", "running_var")


def norm(name, channels, leaves=NORM):
    return {f"{name}.{leaf}": (channels,) for leaf in leaves}


def basic_resnet(blocks, width, stem=7, leaves=NORM):
    shapes = {"conv1.weight": (width, 3, stem, stem), **norm("bn1", width, leaves)}
    before = width
    for stage, count in enumerate(blocks):
        channels = width * 2**stage
        for i in range(count):
            at = f"layer{stage + 1}.{i}"
            shapes[f"{at}.conv1.weight"] = (channels, before, 3, 3)
            shapes[f"{at}.conv2.weight"] = (channels, channels, 3, 3)
            shapes |= norm(f"{at}.bn1", channels, leaves) | norm(f"{at}.bn2", channels, leaves)
            if stage and i == 0:
                shapes[f"{at}.downsample.0.weight"] = (channels, before, 1, 1)
                shapes |= norm(f"{at}.downsample.1", channels, leaves)
            before = channels
    return shapes


def bottleneck_resnet(blocks, width):
    shapes = {"conv1.weight": (width, 3, 7, 7), **norm("bn1", width)}
    before = width
    for stage, count in enumerate(blocks):
        inner, outer = width * 2**stage, 4 * width * 2**stage
        for i in range(count):
            at = f"layer{stage + 1}.{i}"
            shapes[f"{at}.conv1.weight"] = (inner, before, 1, 1)
            shapes[f"{at}.conv2.weight"] = (inner, inner, 3, 3)
            shapes[f"{at}.conv3.weight"] = (outer, inner, 1, 1)
            shapes |= norm(f"{at}.bn1", inner) | norm(f"{at}.bn2", inner) | norm(f"{at}.bn3", outer)
            if i == 0:
                shapes[f"{at}.downsample.0.weight"] = (outer, before, 1, 1)
                shapes |= norm(f"{at}.downsample.1", outer)
            before = outer
    return shapes
