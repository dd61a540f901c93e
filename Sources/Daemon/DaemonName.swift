/// The services that make up Martlet. The raw value names the service everywhere: process, socket, log, supervisor.
package enum DaemonName: String, CaseIterable, Sendable {
    case smtpd
    case queueManager = "queue-manager"
    case remoteRelay = "remote-relay"
    case localDeliver = "local-deliver"
    case pipeDeliver = "pipe-deliver"
    case authd
    case pop3d
    case pop3dMailbox = "pop3d-mailbox"
    case imapd
    case imapdMailbox = "imapd-mailbox"
    case resolverd
    case reportd
    case keyd

    /// Where the daemon answers `STATUS`, relative to the instance directory.
    package var statusSocket: String { "run/status/\(rawValue).sock" }
}
