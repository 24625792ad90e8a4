//! Debian packages, where the distribution is Debian's and we may install.

use std::process::Command;

use anyhow::Result;

use crate::run::{note, probe, run_aside};

/// Whether `apt-get` is there and would be allowed to install.
pub(crate) fn may_install() -> bool {
    probe(Command::new("id").arg("-u")).as_deref() == Some("0")
        && probe(Command::new("apt-get").arg("--version")).is_some()
}

/// Installs the packages.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    note(&format!("installing {} with apt-get", packages.join(" ")));
    run_aside(apt_get().arg("update"))?;
    run_aside(apt_get().args(["install", "-y", "--no-install-recommends"]).args(packages))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("-q").env("DEBIAN_FRONTEND", "noninteractive");
    command
}
