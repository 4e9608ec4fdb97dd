"""How backbones and adapter sets are trained and measured."""
