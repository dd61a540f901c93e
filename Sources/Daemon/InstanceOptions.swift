import ArgumentParser

#if canImport(Glibc)
import Glibc
#endif

/// How a command finds the instance that it works on.
package struct InstanceOptions: ParsableArguments {
    @Option(help: "The instance directory (else MARTLET_INSTANCE from the environment, else /var/lib/martlet).")
    package var instance: String?

    package init() {}

    /// The instance directory.
    package var directory: String {
        instance ?? getenv("MARTLET_INSTANCE").map { String(cString: $0) } ?? "/var/lib/martlet"
    }

    /// Makes the instance directory the working directory, so that paths in the configuration and of sockets are
    /// right as they are.
    ///
    /// - Throws: `SetupError` when there is no such directory.
    package func enter() throws(SetupError) {
        guard chdir(directory) == 0 else { throw SetupError("change to instance directory \(directory)") }
    }
}
