import Spool
import Testing

@testable import QueueManager

/// What the store keeps messages in.
@Suite struct MessageTableTests {
    /// Messages that are told apart by the number that their IDs are made of.
    private func messages(_ count: UInt64) throws -> [QueuedMessage] {
        try (1...count).map { try TestMessages.message($0) }
    }

    @Test func tableFindsWhatIsInIt() throws {
        let messages = try messages(300)
        var table = MessageTable()
        var known: Set<Int> = []
        var chance = SystemRandomNumberGenerator()
        var wrong: [Int] = []
        for round in 0..<6000 {
            // It fills, and is emptied again.
            let index = Int.random(in: messages.indices, using: &chance)
            let id = messages[index].id
            if Int.random(in: 0..<10, using: &chance) < (round / 1500 % 2 == 0 ? 7 : 2) {
                if table.insert(messages[index]) != known.insert(index).inserted { wrong.append(round) }
            } else if table.remove(id) != (known.remove(index) != nil) {
                wrong.append(round)
            }
            if table.count != known.count { wrong.append(round) }
        }
        #expect(wrong.isEmpty)
        #expect(messages.indices.filter { table[messages[$0].id] === messages[$0] } == known.sorted())
        #expect(Set(table.ids) == Set(known.map { messages[$0].id }))
        for index in known { table.remove(messages[index].id) }
        #expect(table.isEmpty && table.ids.isEmpty && table[messages[0].id] == nil)
    }

    @Test func setOfOneOrManyIsASet() throws {
        let messages = try messages(2100)
        var set = MessageSet.none
        #expect(set.isEmpty && set.partCount == 0)
        for message in messages + messages.prefix(10) { set.insert(message) }
        #expect(set.count == 2100)
        #expect(set.partCount > 1)
        #expect((0..<set.partCount).allSatisfy { set.ids(part: $0).count < 100 })
        #expect(Set((0..<set.partCount).flatMap { set.ids(part: $0) }) == Set(messages.map(\.id)))
        for message in messages.dropFirst() { set.remove(message) }
        #expect(set.count == 1 && !set.isEmpty)
        set.remove(messages[1])
        set.remove(messages[0])
        #expect(set.isEmpty && set.count == 0)

        set = .one(messages[0])
        set.insert(messages[0])
        set.remove(messages[1])
        #expect(set.ids(part: 0) == [messages[0].id] && set.ids(part: 1).isEmpty)
        set.remove(messages[0])
        #expect(set.isEmpty)
    }

    @Test func fewElementsAreACollection() {
        var few: Few<Int32> = []
        #expect(few.isEmpty && few.first == nil)
        for number in Int32(1)...3 {
            few.append(number)
            #expect(Array(few) == Array(1...number))
            #expect(few.last == number && few.count == Int(number))
        }
        #expect(Few([Int32(7)])[0] == 7)
        #expect(Few([Int32(7), 8]).map { $0 + 1 } == [8, 9])
    }

    /// Octets of each object of a class, as its metadata says (the runtime's ABI, "Class Metadata").
    private func size(_ type: AnyClass) -> UInt32 {
        unsafeBitCast(type, to: UnsafeRawPointer.self).load(fromByteOffset: 24, as: UInt32.self)
    }

    /// There may be a million of them.
    @Test func messagesAreSmall() {
        // As malloc has it: an octet more would take 16.
        #expect((100...120).contains(size(QueuedMessage.self)))
        #expect((60...72).contains(size(DeliveryJob.self)))
        #expect(MemoryLayout<MessageSet>.stride == 8)
    }

    /// A group's last message takes it out of the index; who comes later finds it again.
    @Test func groupsAreSharedAndLeave() throws {
        var store = MessageStore()
        let messages = try messages(3)
        func insert(_ message: QueuedMessage) {
            let jobs = (0..<2).map { number in
                DeliveryJob(message, to: "example.net", recipients: .one(number), mayBeKnown: false)
            }
            store.insert(message, jobs: jobs)
        }
        insert(messages[0])
        insert(messages[1])
        #expect(messages[0].jobs[0].group === messages[1].jobs[1].group)
        #expect(store.count(destination: "example.net") == 2)
        store.setJobs(of: messages[0], [])
        store.setJobs(of: messages[1], [messages[1].jobs[1]])
        #expect(store.count(destination: "example.net") == 1)
        store.move(messages[1], .left)
        #expect(store.count(destination: "example.net") == 0)
        insert(messages[2])
        #expect(store.count(destination: "example.net") == 1)
        #expect(store.group(destination: "example.net") === messages[2].jobs[0].group)
        store.release()
    }
}
