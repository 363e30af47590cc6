"""The loggers of `config.loggers`: TensorBoard, Weights & Biases, MLflow and Trackio.

`names` knows them, and what is installed; each has a file of its own, which imports its library; `loggers` opens those
that a run wants and keeps their mistakes from it. metrics.jsonl is written whatever they do.

To add one, write a file with a class like `protocol.Logger`; add its name, which is that of its file, of its library
and of its extra in pyproject.toml, to `names.LOGGERS`; and add a line to `loggers.open_one`.
"""
