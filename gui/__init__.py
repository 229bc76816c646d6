"""The desktop: what a person sees and touches."""
