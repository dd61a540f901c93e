import SMTP
import Spool
import Testing

@testable import QueueManager

@Suite struct OriginTests {
    private func id(_ number: UInt64) -> MessageID { MessageID(time: number, random: number) }

    @Test func originIsKnownForAWhileAfterItsMessageLeft() {
        var origins = OriginIndex()
        origins.insert("a", id(1))
        origins.insert("b", id(2))
        #expect(origins["a"] == id(1))
        origins.left("a", at: 0)
        origins.left("b", at: OriginIndex.memory)
        #expect(origins["a"] == id(1))
        origins.insert("c", id(3))
        origins.left("c", at: OriginIndex.memory + 1)
        #expect(origins["a"] == nil)
        #expect(origins["b"] == id(2))
        #expect(origins["never"] == nil)
    }

    @Test func progressIsWhatTheLinesComeDownTo() {
        let busy = EnhancedStatusCode(4, 2, 1)
        let progress = MessageProgress([
            StateEntry(time: 1, recipient: 1, event: .deferred(attempts: 1, next: 10, status: busy), text: "busy"),
            StateEntry(time: 2, recipient: 2, event: .final(.relayed, .success), text: "mx"),
            StateEntry(time: 3, recipient: 1, event: .deferred(attempts: 2, next: 20, status: busy), text: "still"),
            StateEntry(time: 4, recipient: 0, event: .warned),
        ])
        #expect(progress.final == [1])
        #expect(progress.attempts[0]?.count == 2)
        #expect(progress.attempts[0]?.due == 20_000)
        #expect(progress.texts == [0: "4.2.1 still", 1: "2.0.0 mx"])
        #expect(progress.isWarned(0))
    }

    @Test func eachRecipientIsLateForItself() {
        let progress = MessageProgress([StateEntry(time: 1, recipient: 2, event: .warned)])
        #expect((0...2).map { progress.isWarned($0) } == [false, true, false])
    }

    @Test func requeuedMessageHasNoAttemptsBehindIt() {
        let progress = MessageProgress([
            StateEntry(time: 1, recipient: 1, event: .deferred(attempts: 3, next: 10, status: .noAnswer)),
            StateEntry(time: 2, recipient: 2, event: .final(.failed, .noSuchMailbox)),
            StateEntry(time: 3, recipient: 0, event: .requeued),
        ])
        #expect(progress.attempts.isEmpty)
        #expect(progress.final == [1])
    }

    @Test func failureThatWasReportedIsNotReportedAgain() {
        let unreported = StateEntry(time: 1, recipient: 1, event: .unreported(.noSuchMailbox), text: "nobody")
        let reported = StateEntry(time: 2, recipient: 1, event: .final(.failed, .noSuchMailbox), text: "nobody")
        let other = StateEntry(time: 3, recipient: 2, event: .unreported(.noSuchMailbox), text: "nobody")
        // The second order is what a start may leave behind that found the later line only.
        for entries in [[unreported, reported, other], [reported, other, unreported]] {
            let progress = MessageProgress(entries)
            #expect(progress.final == [0, 1])
            #expect(progress.unreported == [1: DeliveryResult(.failed, .noSuchMailbox, "nobody")])
        }
    }

    @Test func dueTimeThatIsNoTimeIsNotTrusted() {
        let progress = MessageProgress([
            StateEntry(time: 1, recipient: 1, event: .deferred(attempts: 1, next: .max, status: .noAnswer))
        ])
        #expect(progress.attempts[0]?.count == 1)
    }
}
