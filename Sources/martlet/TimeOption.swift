import ArgumentParser

/// The option `--time` of commands that work as at another time.
enum TimeOption {
    /// - Throws: for what is no number of seconds since 1970 with which can be calculated.
    static func check(_ time: Int?) throws {
        if let time, !(0...(1 << 40)).contains(time) {
            throw ValidationError("--time is a number of seconds since 1970")
        }
    }
}
