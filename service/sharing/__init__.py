"""Adapter sets to and from other places: the Hugging Face Hub, object stores, web servers, directories."""
