import Spool
import Testing

@testable import QueueManager

@Suite struct MessageStoreTests {
    private func store(_ count: UInt64) throws -> (MessageStore, [QueuedMessage]) {
        var store = MessageStore()
        var messages: [QueuedMessage] = []
        for number in 1...count {
            let sender = number % 2 == 0 ? "<even@example.test>" : "<odd@Example.Test>"
            let message = QueuedMessage(
                try TestMessages.head(number, from: sender, to: ["<bob@example.net>", "<user\(number)@example.org>"])
            )
            let jobs = ["example.net", "example.org"].map {
                DeliveryJob(message, to: $0, recipients: [0], mayBeKnown: false)
            }
            store.insert(message, jobs: jobs)
            messages.append(message)
        }
        return (store, messages)
    }

    private func ids(_ store: MessageStore, _ index: MessageStore.Index) -> [MessageID] {
        (0..<store.partCount(index)).flatMap { store.ids(index, part: $0) }
    }

    private func move(_ store: inout MessageStore, _ message: QueuedMessage, _ event: MessageState.Event) -> Bool {
        store.move(message, event)
    }

    @Test func messagesAreFoundByEverything() throws {
        let (store, messages) = try store(6)
        #expect(store[messages[3].id] === messages[3])
        #expect(ids(store, .sender("odd@example.test")).count == 3)
        #expect(store.count(sender: "even@example.test") == 3)
        #expect(ids(store, .recipient("bob@example.net")).count == 6)
        #expect(ids(store, .recipient("user4@example.org")) == [messages[3].id])
        #expect(ids(store, .destination("example.org")).count == 6)
        #expect(ids(store, .sender("nobody@example.test")).isEmpty)
        #expect(store.ids(.all, part: messages[0].id.shard) == [messages[0].id])
    }

    @Test func userCountsAsTheSender() throws {
        let message = QueuedMessage(try TestMessages.head(1, from: "<list@example.test>", user: "alice@example.test"))
        #expect(message.sender == "alice@example.test")
        #expect(try TestMessages.message(2, from: "<>").sender == "")
    }

    @Test func countsFollowTheState() throws {
        var (store, messages) = try store(4)
        #expect(store.count(.queued) == 4)
        store.move(messages[0], .deliveryBegan)
        store.move(messages[1], .changeBegan(.hold))
        store.move(messages[1], .changeEnded(isHeld: true))
        messages[2].jobs[0].attempts = 1
        store.setJobs(of: messages[2], [messages[2].jobs[0]])
        #expect(store.count(.active) == 1)
        #expect(store.count(.held) == 1)
        #expect(store.count == 4)
        #expect(!move(&store, messages[1], .deliveryBegan))
        #expect(store.count(.held) == 1)
        #expect(store.count(destination: "example.org") == 3)
        store.move(messages[0], .deliveryEnded)
        #expect(store.count(.active) == 0)
    }

    @Test func nothingIsLeftOfAMessageThatWent() throws {
        var (store, messages) = try store(2)
        for message in messages {
            #expect(move(&store, message, .left))
            #expect(!move(&store, message, .left))
        }
        #expect(store.count == 0)
        for category in QueuedMessage.Category.allCases { #expect(store.count(category) == 0) }
        #expect(ids(store, .recipient("bob@example.net")).isEmpty)
        #expect(store.count(sender: "odd@example.test") == 0)
        #expect(store.count(destination: "example.net") == 0)
    }

    /// Large indexes are gone through part by part, and what was there at the beginning is met once, whatever comes meanwhile.
    @Test func walkMeetsAllThatStays() throws {
        var store = MessageStore()
        func insert(_ numbers: ClosedRange<UInt64>) throws -> [QueuedMessage] {
            try numbers.map { number in
                let message = try TestMessages.message(number)
                store.insert(message, jobs: [.init(message, to: "example.net", recipients: [0], mayBeKnown: false)])
                return message
            }
        }
        let first = try insert(1...2000)
        #expect(store.partCount(.destination("example.net")) == 1)
        var walk = MessageWalk(.destination("example.net"))
        var met: [MessageID] = []
        met += walk.next(100, in: store) ?? []
        _ = try insert(2001...5000)
        #expect(store.partCount(.destination("example.net")) == 256)
        #expect(store.count(destination: "example.net") == 5000)
        while let ids = walk.next(100, in: store) {
            #expect(ids.count <= 100)
            met += ids
        }
        #expect(Set(met).isSuperset(of: first.map(\.id)))
        #expect(met.count == 2000)
        walk = MessageWalk(.destination("example.net"))
        met = []
        while let ids = walk.next(100, in: store) {
            met += ids
            for id in ids where id.time % 2 == 0 { if let message = store[id] { store.move(message, .left) } }
        }
        #expect(met.count == 5000 && Set(met).count == 5000)
        #expect(store.count(destination: "example.net") == 2500)
    }
}
