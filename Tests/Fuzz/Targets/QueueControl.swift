import Bus
import NIOCore
import QueueManager

/// What queue-manager is asked on control.sock: filters and pauses, which are what the spool keeps, too.
let queueControlTarget = FuzzTarget("queue-control") { input in
    var octets = ByteBuffer(bytes: input)
    var parser = FrameParser()
    while let frame = try? parser.next(from: &octets) {
        if let filter = try? MessageFilter(frame) {
            let again = try? MessageFilter(Frame(frame.verb, filter.fields))
            demand(again == filter, "a filter that comes back as another")
        }
        if let pause = Pause(frame, since: 0) {
            demand(Pause(pause.frame, since: 1) == pause, "a pause that comes back as another")
        }
    }
}
