//! losskit
