//! gRPC and the admin port.
