import MailRules
import SMTP

/// A mail transaction whose envelope is being received.
struct Transaction {
    var sender: EnvelopeSender
    /// When the message should be delivered.
    var terms = DeliveryTerms()
    private(set) var recipients: [EnvelopeRecipient] = []
    private var known: Set<MailAddress> = []
    private var octets = 0
    /// The route that rules gave its recipients so far.
    var route: String?
    /// What greylisting said, by recipient.
    var greylist: [String: PolicyFacts.Greylisting] = [:]
    /// The sender's domain, where SPF shows it: none or one; nil where it wasn't asked.
    var shownSender: [String]?
    /// Whether it said of somebody that the mail has come back.
    var hasComeBack = false
    /// RCPTs that were accepted: LMTP gives as many replies (RFC 2033 §4.2).
    private(set) var accepted: [MailAddress] = []

    init(sender: EnvelopeSender) {
        self.sender = sender
    }

    /// What the recipients may take of a frame's head, which has 1 MiB for all (docs/protocols.md). Octets.
    private static let maximumOctets = 960 * 1024
    /// A recipient's field without its address. Octets.
    private static let fieldOverhead = 16

    /// Whether one more recipient, of any length, fits.
    func hasRoom(_ limits: SessionLimits) -> Bool {
        accepted.count < limits.recipients && octets + 1024 <= Self.maximumOctets
    }

    /// Adds a recipient, unless it is there already.
    mutating func add(_ recipient: EnvelopeRecipient) {
        accepted.append(recipient.address)
        guard known.insert(recipient.address).inserted else { return }
        recipients.append(recipient)
        octets += recipient.description.utf8.count + Self.fieldOverhead
    }
}
