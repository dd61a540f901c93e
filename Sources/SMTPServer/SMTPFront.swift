import Accounts
import Daemon
import Front
import Logging
import MailAuth
import MilterClient
import NIOCore
import Network
import Policy
import Reporting
import Resolution
import SMTP
import Submission

/// What all sessions of one event loop share.
struct LoopResources: Sendable {
    let submissions: SubmissionClient
    let recipients: RecipientDirectory
    let senders: SenderDirectory
    let greylist: GreylistDirectory
    let rates: ClientRates
    /// Who needn't wait for the greeting again.
    let greeted: GreetedClients
    /// Which DNS lists are to be believed.
    let listTrial: DNSListTrial
    /// Asks next hops about recipients.
    let recipientCheck: RecipientForwardCheck
    /// Asks resolverd.
    let query: StubResolver.Query
    /// What resolverd answered a moment ago, and what was read from it.
    let shared: SharedAnswers
    /// Counts results of DMARC; nil where nobody does.
    let reports: ReportClient?
    /// Connections to milters that wait for the next client.
    let milters: MilterPool
    /// What is held of messages for milters, of all loops.
    let milterMemory: MilterMemory
    private let watch: DirectoryWatch

    init(
        _ settings: ServerSettings,
        milterMemory: MilterMemory,
        rates: ClientRates,
        greeted: GreetedClients,
        listTrial: DNSListTrial,
        knownRecipients: KnownRecipients,
        records: KnownRecords,
        on loop: any EventLoop
    ) {
        self.rates = rates
        self.greeted = greeted
        self.listTrial = listTrial
        milters = MilterPool(on: loop)
        self.milterMemory = milterMemory
        let accounts = AccountsClient(
            path: settings.front.authoritySocket,
            on: loop,
            timeout: settings.front.authorityTimeout
        )
        let resolver = StubResolver(path: settings.resolverSocket, on: loop, timeout: settings.resolverTimeout)
        let answers = RecentAnswers(on: loop) { (name, type) throws(ResolutionError) in
            try await resolver.query(name, type)
        }
        shared = SharedAnswers(records: records) { answers.known($0, $1) }
        query = { (name, type) throws(ResolutionError) in try await answers.query(name, type) }
        reports = settings.reportSocket.map { ReportClient(path: $0, on: loop) }
        submissions = SubmissionClient(path: settings.queueSocket, on: loop, timeout: settings.queueTimeout)
        let recipients = RecipientDirectory(accounts: accounts, on: loop, lifetime: settings.recipientCache)
        self.recipients = recipients
        let senders = SenderDirectory(accounts: accounts, on: loop, lifetime: settings.recipientCache)
        self.senders = senders
        recipientCheck = RecipientForwardCheck(
            path: settings.recipientSocket,
            accounts: accounts,
            knownRecipients,
            on: loop
        )
        greylist = GreylistDirectory(
            path: settings.front.authoritySocket,
            on: loop,
            fallback: settings.greylistFallback,
            silence: settings.greylistSilence
        )
        watch = DirectoryWatch(path: settings.front.authoritySocket, on: loop) { _ in
            recipients.forget()
            senders.forget()
        }
        watch.start()
    }
}

/// smtpd's service: a session for each client.
package struct SMTPFront: FrontService {
    private let settings: ServerSettings
    private let resources: PerLoop<LoopResources>
    private let counters = ServerCounters()

    package init(_ settings: ServerSettings) {
        self.settings = settings
        let memory = MilterMemory(
            limit: settings.milterMemory,
            // A message, its new body, and that of the milter before.
            clientLimit: max(settings.milterMemory / 4, 3 * settings.largestMessage)
        )
        let rates = ClientRates(settings.rates)
        let greeted = GreetedClients()
        let listTrial = DNSListTrial()
        let known = KnownRecipients()
        let records = KnownRecords()
        resources = PerLoop {
            LoopResources(
                settings,
                milterMemory: memory,
                rates: rates,
                greeted: greeted,
                listTrial: listTrial,
                knownRecipients: known,
                records: records,
                on: $0
            )
        }
    }

    package var front: FrontSettings { settings.front }
    package func front(of role: ListenerKind) -> FrontSettings { settings.settings(of: role).front }
    package var sessions: Listener.Sessions { .short }

    package func proxies(of role: ListenerKind) -> [AddressRange]? { settings.listeners[role]?.proxies }

    package func refusal(_ reason: Listener.Refusal) -> ByteBuffer {
        let text =
            switch reason {
            case .tooManyConnections: "too many connections, try again later"
            case .tooManyFromClient: "too many connections from your address"
            }
        var reply = ByteBuffer()
        Reply.write(.serviceNotAvailable, .refusedForNow, text, to: &reply)
        return reply
    }

    package func serve(_ client: FrontClient, as role: ListenerKind) async {
        await Session(
            client,
            kind: role,
            settings: settings.settings(of: role),
            resources: resources[client.connection.eventLoop],
            counters: counters
        ).run()
    }
}
