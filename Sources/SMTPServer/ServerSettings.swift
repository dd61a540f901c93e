import NIOCore
import Network

/// What smtpd was told: checked values, made from the configuration.
package struct ServerSettings: Sendable {
    /// The name in the greeting and in Received fields.
    package var hostname: String
    /// The domain of `<Postmaster>` without one.
    package var postmasterDomain: String
    /// Networks whose clients may relay without logging in.
    package var relayFrom: [AddressRange] = []
    /// Whether the reverse-path of a logged-in client must be its own address.
    package var enforcesSender = false
    /// Limits on what a stranger can drive.
    package var limits = SessionLimits()
    /// How long a positive answer of authd about a recipient is believed.
    package var recipientCache = TimeAmount.seconds(2)
    /// How long authd may take for an answer.
    package var authorityTimeout = TimeAmount.seconds(30)
    /// How long queue-manager may take to commit a message.
    package var queueTimeout = TimeAmount.minutes(5)
    /// The path of queue-manager's socket.
    package var queueSocket = "run/queue.sock"
    /// The path of authd's socket.
    package var authoritySocket = "run/auth.sock"

    /// Settings with default limits.
    package init(hostname: String, postmasterDomain: String) {
        self.hostname = hostname
        self.postmasterDomain = postmasterDomain
    }
}

/// Limits of one session and its messages.
package struct SessionLimits: Sendable {
    /// Octets of a message.
    package var message = 50 * 1024 * 1024
    /// Recipients of a message.
    package var recipients = 1000
    /// Received fields of a message; more are a loop.
    package var hops = 100
    /// Octets of a line of a message, without its end; 0 for no limit.
    package var textLine = 1024 * 1024
    /// Octets of a command line (RFC 5321 §4.5.3.1.4 and what the extensions add).
    package var commandLine = 2048
    /// Octets of a line within AUTH.
    package var authenticationLine = 2048
    /// Faults of the client before it is sent away.
    package var errors = 20
    /// What each fault beyond half of `errors` adds to the delay of the reply.
    package var errorDelay = TimeAmount.milliseconds(200)
    /// Silence of the client.
    package var idle = TimeAmount.minutes(5)
    /// Time for the whole session.
    package var session = TimeAmount.hours(1)
    /// How long the greeting waits for clients that talk before it; 0 for no check.
    package var greetingDelay = TimeAmount.zero

    /// The defaults.
    package init() {}
}

/// What kind of client a listening socket is for.
package enum ListenerKind: String, Sendable, CaseIterable {
    /// Other hosts (RFC 5321).
    case smtp
    /// Users, with STARTTLS (RFC 6409).
    case submission
    /// Users, with TLS from the first octet (RFC 8314).
    case submissions

    /// Whether clients must log in.
    package var isSubmission: Bool { self != .smtp }
}
