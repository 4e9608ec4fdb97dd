"""The routes: parse, call, shape the reply. They never import torch or redis."""
