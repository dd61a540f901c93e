import NIOCore

/// Numbers with units, as people write them in the configuration and on the command line.
package enum Quantity {
    /// A number of octets, with `KiB`, `MiB`, `GiB`, `TiB` or nothing behind it.
    package static func octets(_ text: String) -> Int? {
        number(text, units: ["": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40])
    }

    /// A time, with `ms`, `s`, `m`, `h` or `d` behind it.
    package static func duration(_ text: String) -> TimeAmount? {
        let units = ["ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000]
        let nanoseconds = number(text, units: units)?.multipliedReportingOverflow(by: 1_000_000)
        return nanoseconds.flatMap { $0.overflow ? nil : .nanoseconds(Int64($0.partialValue)) }
    }

    /// The time between two events of which so many may be in a second, a minute, an hour or a day: `10/s`, `600/h`.
    /// At least a millisecond.
    package static func interval(_ text: String) -> TimeAmount? {
        guard let slash = text.firstIndex(of: "/"), let count = Int64(text[..<slash]), count > 0,
            let period = duration("1" + text[text.index(after: slash)...])
        else { return nil }
        let interval = TimeAmount.nanoseconds(period.nanoseconds / count)
        return interval >= .milliseconds(1) ? interval : nil
    }

    private static func number(_ text: String, units: [String: Int]) -> Int? {
        let digits = text.utf8.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        let unit = String(text.utf8.dropFirst(digits.count).drop { $0 == 0x20 }) ?? ""
        guard let count = Int(String(digits) ?? ""), let factor = units[unit] else { return nil }
        let product = count.multipliedReportingOverflow(by: factor)
        return product.overflow ? nil : product.partialValue
    }
}
