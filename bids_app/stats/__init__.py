"""Pure numerics on arrays: association, permutation, discriminability, risk bounds."""
