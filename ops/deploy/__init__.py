"""Write the configuration of a deployment: the gateway and the Kubernetes manifests."""
