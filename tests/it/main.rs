//! The whole server, in this process, on free ports, with the real ONNX Runtime and a tiny model, driven by a real client.
#![expect(clippy::unwrap_used, reason = "a panic in a helper is a failed test, with a line number")]

#[macro_use]
mod harness;

mod admin;
mod admission;
mod age;
mod alerts;
mod bench;
mod classify;
mod commands;
mod config;
mod deploy;
mod drain;
mod evaluate;
mod exchange;
mod failure;
mod fields;
#[cfg(target_os = "linux")]
mod full_disk;
mod gaps;
mod gate;
mod gated;
mod health;
mod idle;
mod interrupted;
mod journal;
mod kept;
mod labels;
mod layers;
mod leak;
mod models;
mod nats;
mod nats_away;
mod nats_held_up;
mod overload;
mod people;
mod providers;
mod recordings;
mod reflection;
mod refusals;
mod relay;
mod reload;
mod reset;
mod resume;
mod roles;
mod shadow;
mod slow_reader;
mod slow_receiver;
mod stages;
mod startup;
mod supervise;
mod tracing;
mod two_clients;
mod vanish;
mod watch;
mod waveform;
mod webhook;
