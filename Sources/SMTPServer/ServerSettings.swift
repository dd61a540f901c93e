import Daemon
import Front
import MailRules
import NIOCore
import Network
import Policy
import SMTP

/// smtpd's settings: validated values from the configuration.
package struct ServerSettings: Sendable {
    /// The settings that all fronts have.
    package var front: FrontSettings
    /// Networks whose clients may relay without logging in.
    package var relayFrom: [AddressRange] = []
    /// Networks of proxies that may say by XCLIENT who the client is.
    package var xclientFrom: [AddressRange] = []
    /// Who is told which addresses there are.
    package var addressLookup = AddressLookup.trusted
    /// What differs between listeners.
    package var listeners: [ListenerKind: SMTPListenerConfiguration] = [:]
    /// The settings of kinds of listeners that have others than these.
    var overrides: [ListenerKind: ServerSettings] = [:]
    /// Whether MAIL needs an encrypted connection.
    package var requiresTLS = false
    /// Whether reverse-path and From of a logged-in client must be the user's own addresses.
    package var enforcesSender = false
    /// What the administrator wants done with which mail.
    package var policy = PolicyTable()
    /// What becomes of mail while nobody knows whether it has come back.
    var greylistFallback = GreylistDirectory.Fallback.pass
    /// How long authd isn't asked again for that after it gave no answer.
    var greylistSilence = TimeAmount.seconds(5)
    /// Domains that aren't ours, in lower case, for which mail is taken from anybody.
    package var relayDomains: Set<String> = []
    /// Whether the next hop is asked for their recipients.
    package var checksRecipients = false
    /// The path of remote-relay's socket for that.
    package var recipientSocket = "run/recipient.sock"
    /// Networks whose clients are no strangers, though they may not relay.
    package var exempt: [AddressRange] = []
    /// How often strangers may come.
    package var rates = ClientRateLimits()
    /// Whether strangers may send commands before they can know that they may.
    package var mayPipelineEarly = false
    /// What rules look at of a message's body. Octets.
    package var policyBody = 64 * 1024
    /// DNS lists that clients are looked up in.
    package var dnsLists: [DNSList] = []
    /// How long the DNS is waited for before the first recipient is answered.
    package var clientTimeout = TimeAmount.seconds(5)
    /// Names that are ours, in lower case: of this host, and the domains.
    package var ownNames: Set<String> = []
    /// What is made of SPF, DKIM, ARC and DMARC; nil where they aren't looked at.
    package var authentication: AuthenticationPolicy?
    /// Our name in Authentication-Results, also where nothing is looked at; nil for the hostname.
    package var authservID: String?
    /// Programs that look at mail, in the order in which they are asked.
    package var milters: [MilterConfiguration] = []
    /// What may be held in memory of messages that milters look at. Octets.
    package var milterMemory = 256 << 20
    /// Limits on what a client can cause.
    package var limits = SessionLimits()
    /// How long a positive answer of authd about a recipient is cached.
    package var recipientCache = TimeAmount.seconds(2)
    /// How long queue-manager may take to commit a message.
    package var queueTimeout = TimeAmount.minutes(5)
    /// The path of queue-manager's socket.
    package var queueSocket = "run/queue.sock"
    /// The path of resolverd's socket.
    package var resolverSocket = "run/dns.sock"
    /// The path of reportd's socket; nil where nothing is reported.
    package var reportSocket: String?
    /// How long resolverd may take to answer a question.
    package var resolverTimeout = TimeAmount.seconds(10)

    /// Settings with default limits.
    package init(hostname: String) { front = FrontSettings(hostname: hostname) }

    /// The name in the greeting and in Received fields.
    package var hostname: String { front.hostname }
}

/// Limits of one session and its messages.
package struct SessionLimits: Sendable {
    /// Octets of a message.
    package var message = 50 * 1024 * 1024
    /// Recipients of a message.
    package var recipients = 1000
    /// Received fields of a message, ours included; more are a loop (RFC 5321 §6.3).
    package var hops = 100
    /// Octets of a line of a message, without its end; 0 for no limit.
    package var textLine = 1024 * 1024
    /// Octets of a command line (RFC 5321 §4.5.3.1.4 and what the extensions add); AUTH needs most (RFC 4954 §4).
    package var commandLine = 12_288
    /// Octets of a line within AUTH (RFC 4954 §4).
    package var authenticationLine = 12_288
    /// How long the greeting is held back to catch clients that talk before it; 0 for no check.
    package var greetingDelay = TimeAmount.zero
    /// How long a message may be held for its sender. Seconds; 0 for not at all.
    package var hold: Int64 = 30 * 86400
    /// The shortest time in which a sender may want a message delivered. Seconds.
    package var deliverBy = 60

    /// The defaults.
    package init() {}
}

/// What kind of client a listening socket is for.
package enum ListenerKind: String, ListenerRole, CaseIterable {
    /// Other hosts (RFC 5321).
    case smtp
    /// Users, with STARTTLS (RFC 6409).
    case submission
    /// Users, with TLS from the first octet (RFC 8314).
    case submissions

    /// Programs on this machine or next to it that hand in mail for mailboxes here (RFC 2033).
    case lmtp

    /// Whether clients must log in.
    package var isSubmission: Bool {
        switch self {
        case .submission, .submissions: true
        case .smtp, .lmtp: false
        }
    }

    package var isEncrypted: Bool { self == .submissions }
    package var isForUsers: Bool { isSubmission }
}

extension ServerSettings {
    /// What holds for a kind of listener.
    package func settings(of kind: ListenerKind) -> ServerSettings { overrides[kind] ?? self }

    /// The most octets of a message at any listener.
    var largestMessage: Int { overrides.values.reduce(limits.message) { max($0, $1.limits.message) } }

    /// The extensions that a listener may offer, to whomever.
    func extensions(of kind: ListenerKind) -> Set<ServiceExtension> {
        ServiceExtension.all(without: listeners[kind]?.disabledExtensions ?? [])
    }
}
