"""The training loop and its parts; it knows neither Ray nor MLflow."""
