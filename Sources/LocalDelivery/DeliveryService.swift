import Accounts
import Deliverer
import Mailbox
import NIOCore
import SMTP

/// local-deliver's work on a message: resolves each recipient to a mailbox or an alias, and delivers or forwards. Belongs
/// to one event loop.
final class DeliveryService: Sendable {
    private let expansions: ExpansionCache
    private let fullMailboxes: FullMailboxReports
    private let batcher: DeliveryBatcher
    private let forwarder: Forwarder
    private let usesExtensionFolders: Bool
    private let hostname: String

    /// - Parameter hostname: names us where a part was encoded.
    init(
        expansions: ExpansionCache,
        fullMailboxes: FullMailboxReports,
        batcher: DeliveryBatcher,
        forwarder: Forwarder,
        usesExtensionFolders: Bool,
        hostname: String
    ) {
        self.expansions = expansions
        self.fullMailboxes = fullMailboxes
        self.batcher = batcher
        self.forwarder = forwarder
        self.usesExtensionFolders = usesExtensionFolders
        self.hostname = hostname
    }

    /// What is to be done for a recipient.
    private enum Step {
        case nothing(DeliveryResult)
        case put(Delivery, AccountMailbox)
        case forward([MailAddress], owner: MailAddress?)
    }

    /// Works on a request. Every recipient has a result of its own, as soon as it's known.
    func work(on job: DeliveryJob) async {
        let earlier: DeliveredTo
        let message: MessageOctets
        do throws(MessageSourceError) {
            earlier = try await DeliveredTo(job.message)
            message =
                job.request.sender.parameters.body == .binaryMIME
                ? try await MessageOctets(binary: job.message, hostname: hostname) : MessageOctets(job.message)
        } catch {
            return job.report(DeliveryResult(.delayed, .systemTrouble, "\(error)"))
        }
        let places = job.open
        if !message.isInMemory {
            await workInPieces(on: job, message, earlier)
        } else if places.count == 1 {
            await work(on: job, at: places[0], message, earlier)
        } else {
            await withDiscardingTaskGroup { group in
                for place in places {
                    group.addTask { await self.work(on: job, at: place, message, earlier) }
                }
            }
        }
    }

    private func work(on job: DeliveryJob, at place: Int, _ message: MessageOctets, _ earlier: DeliveredTo) async {
        switch await step(for: job, at: place, message, earlier) {
        case .nothing(let result): job.report(result, at: place)
        case .forward(let targets, let owner): await forward(job, at: place, to: targets, owner)
        case .put(let delivery, let mailbox):
            guard let result = await batcher.deliver(delivery, isWanted: { !job.isAbandoned }) else { return }
            report(result, of: delivery, job, mailbox, at: place)
        }
    }

    /// A large message: what goes into mailboxes is written by one thread, mailbox after mailbox.
    private func workInPieces(on job: DeliveryJob, _ message: MessageOctets, _ earlier: DeliveredTo) async {
        var puts: [(place: Int, delivery: Delivery, mailbox: AccountMailbox)] = []
        for place in job.open {
            switch await step(for: job, at: place, message, earlier) {
            case .nothing(let result): job.report(result, at: place)
            case .forward(let targets, let owner): await forward(job, at: place, to: targets, owner)
            case .put(let delivery, let mailbox): puts.append((place, delivery, mailbox))
            }
        }
        guard !puts.isEmpty, !job.isAbandoned else { return }
        let results = await batcher.deliverApart(puts.map(\.delivery))
        for (put, result) in zip(puts, results) { report(result, of: put.delivery, job, put.mailbox, at: put.place) }
    }

    private func forward(_ job: DeliveryJob, at place: Int, to targets: [MailAddress], _ owner: MailAddress?) async {
        let recipient = job.request.recipients[place]
        guard let result = await forwarder.forward(job, for: recipient, to: targets, owner: owner) else { return }
        job.report(result, at: place)
    }

    private func step(
        for job: DeliveryJob,
        at place: Int,
        _ message: MessageOctets,
        _ earlier: DeliveredTo
    ) async -> Step {
        let recipient = job.request.recipients[place]
        let expansion: Expansion
        do throws(AccountsError) {
            expansion = try await expansions.expand(recipient.address, isExpanded: job.request.isExpanded)
        } catch {
            return .nothing(DeliveryResult(error))
        }
        guard !earlier.contains(recipient.address) || isOwnCopy(job.request, expansion) else {
            let text = "mail for \(recipient.address) is looping"
            return .nothing(DeliveryResult(.failed, .routingLoop, text))
        }
        switch expansion {
        case .forward(let texts, let owner):
            let targets = texts.compactMap { try? MailAddress(parsing: $0.utf8, options: .envelope) }
            guard targets.count == texts.count else {
                let text = "\(recipient.address) is an alias for an invalid address"
                return .nothing(DeliveryResult(.delayed, .misconfigured, text))
            }
            return .forward(targets, owner: owner.flatMap { try? MailAddress(parsing: $0.utf8, options: .envelope) })
        case .mailbox(let mailbox, let rest):
            guard let format = MailboxFormat(rawValue: mailbox.format),
                let location = MailboxLocation(path: mailbox.mailbox, format: format, quota: mailbox.quota)
            else {
                let text = "\(mailbox.address) has a mailbox that cannot be used"
                return .nothing(DeliveryResult(.delayed, .misconfigured, text))
            }
            let delivery = Delivery(
                to: location,
                isJunk: job.request.isQuarantined,
                folder: usesExtensionFolders ? rest.flatMap { FolderName($0, delimiter: location.delimiter) } : nil,
                key: job.request.key(of: recipient),
                arrived: Int(job.request.arrived),
                sender: job.request.sender.path.address?.description ?? "",
                prefix: job.request.prefix(for: recipient),
                source: message,
                mayBeKnown: job.request.mayBeKnown
            )
            return .put(delivery, mailbox)
        }
    }

    /// Whether an alias led to the mailbox of its own name. It goes no further from there.
    private func isOwnCopy(_ request: DeliverRequest, _ expansion: Expansion) -> Bool {
        guard request.isExpanded, case .mailbox = expansion else { return false }
        return true
    }

    private func report(
        _ result: Result<Void, MailboxError>,
        of delivery: Delivery,
        _ job: DeliveryJob,
        _ mailbox: AccountMailbox,
        at place: Int
    ) {
        switch result {
        case .success:
            let delivered = DeliveryResult(.delivered, .success, "delivered to \(mailbox.address)")
            job.report(delivered, at: place, file: delivery.fileName)
        case .failure(let error):
            if error == .overQuota { fullMailboxes.report(mailbox.address, octets: job.message.totalOctets) }
            job.report(DeliveryResult(error), at: place)
        }
    }
}
