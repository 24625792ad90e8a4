"""The models of saved_models.py, a family a file. Importing them fills the list `made.MODELS`."""
