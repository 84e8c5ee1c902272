"""The attack on a toy language model that adds: operands of up to three digits, and of up to six."""
