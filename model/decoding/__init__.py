"""From logits to texts: how tokens are chosen, drawn and searched for."""
