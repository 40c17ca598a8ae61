"""gunicorn's gevent worker, for answers that are mostly small or come in many small pieces. Loaded by gunicorn."""
