import Testing

@testable import QueueManager

@Suite struct MessageStateTests {
    private static let states: [MessageState] = [
        .waiting, .held, .delivering(1), .delivering(2), .changing(.hold, wasHeld: false),
        .changing(.remove, wasHeld: true), .gone,
    ]

    @Test func deliveriesAreCounted() {
        var state = MessageState.waiting
        for event: MessageState.Event in [.deliveryBegan, .deliveryBegan, .deliveryEnded] {
            state = state.after(event) ?? .gone
        }
        #expect(state == .delivering(1))
        #expect(state.after(.deliveryEnded) == .waiting)
        #expect(MessageState.waiting.after(.deliveryEnded) == nil)
    }

    @Test func nothingBeginsDuringAChange() {
        let state = MessageState.changing(.bounce(text: ""), wasHeld: false)
        for event: MessageState.Event in [
            .deliveryBegan, .deliveryEnded, .changeBegan(.hold), .found(isHeld: true), .found(isHeld: false),
        ] {
            #expect(state.after(event) == nil)
        }
        #expect(state.after(.changeEnded(isHeld: false)) == .waiting)
        #expect(state.after(.changeEnded(isHeld: true)) == .held)
    }

    @Test func changesWaitForDeliveries() {
        for change: MessageChange in [.hold, .release, .remove, .bounce(text: "no"), .requeue] {
            #expect(MessageState.delivering(1).after(.changeBegan(change)) == nil)
            #expect(MessageState.waiting.after(.changeBegan(change)) == .changing(change, wasHeld: false))
            #expect(MessageState.held.after(.changeBegan(change)) == .changing(change, wasHeld: true))
        }
    }

    @Test func heldMessageIsNotDelivered() {
        #expect(MessageState.held.after(.deliveryBegan) == nil)
        #expect(MessageState.held.isHeld)
        #expect(MessageState.changing(.release, wasHeld: true).isHeld)
        #expect(!MessageState.changing(.hold, wasHeld: false).isHeld)
    }

    @Test func everyMessageMayLeaveOnce() {
        for state in Self.states where state != .gone { #expect(state.after(.left) == .gone) }
        for event: MessageState.Event in [
            .left, .deliveryBegan, .deliveryEnded, .changeBegan(.hold), .changeEnded(isHeld: true),
            .found(isHeld: true),
        ] {
            #expect(MessageState.gone.after(event) == nil)
        }
    }

    @Test func fileThatWasFoundElsewhereChangesOnlyWhatRests() {
        #expect(MessageState.waiting.after(.found(isHeld: true)) == .held)
        #expect(MessageState.held.after(.found(isHeld: false)) == .waiting)
        #expect(MessageState.delivering(1).after(.found(isHeld: true)) == nil)
    }
}
