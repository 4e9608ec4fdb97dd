"""What many replicas and many adapter sets would come to: a simulation on one machine of what cannot be run here."""
