//! Matrices in memory: an operand may have any storage type and any strides, a result is f32.

use crate::registry::{DType, Floats};
use std::marker::PhantomData;
use std::ops::Range;

/// An operand. Copied freely; a transpose or a block is a view of the same memory.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    pub(super) ptr: *const u8,
    pub(super) dtype: DType,
    pub rows: usize,
    pub columns: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
    lifetime: PhantomData<&'a [u8]>,
}

impl<'a> Matrix<'a> {
    /// Rows of `columns` values, `stride` apart.
    pub fn of(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Matrix<'a> {
        assert!(holds(values.len(), rows, columns, stride));
        // SAFETY: just checked.
        unsafe { Matrix::new(values.as_ptr().cast(), DType::F32, rows, columns, stride, 1) }
    }

    /// The rows and columns of a checked buffer.
    pub fn from_floats(values: Floats<'a>) -> Matrix<'a> {
        let rows = values.len.checked_div(values.columns).unwrap_or(0);
        // SAFETY: what the view promises.
        unsafe { Matrix::new(values.ptr, values.dtype, rows, values.columns, values.stride, 1) }
    }

    /// Strides are in elements.
    ///
    /// # Safety
    /// Every element is within memory that can be read for `'a`.
    pub unsafe fn new(
        ptr: *const u8,
        dtype: DType,
        rows: usize,
        columns: usize,
        row_stride: usize,
        column_stride: usize,
    ) -> Matrix<'a> {
        Matrix { ptr, dtype, rows, columns, row_stride, column_stride, lifetime: PhantomData }
    }

    /// The transpose.
    pub fn t(self) -> Matrix<'a> {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    pub fn block(self, rows: Range<usize>, columns: Range<usize>) -> Matrix<'a> {
        assert!(rows.start <= rows.end && rows.end <= self.rows);
        assert!(columns.start <= columns.end && columns.end <= self.columns);
        let ptr = self.at(rows.start, columns.start);
        Matrix { ptr, rows: rows.len(), columns: columns.len(), ..self }
    }

    pub(super) fn at(&self, row: usize, column: usize) -> *const u8 {
        let index = row * self.row_stride + column * self.column_stride;
        self.ptr.wrapping_add(index * self.dtype.size())
    }
}

// SAFETY: only ever read through.
unsafe impl Send for Matrix<'_> {}
unsafe impl Sync for Matrix<'_> {}

/// A result: rows of f32.
pub struct MatrixMut<'a> {
    pub(super) ptr: *mut f32,
    pub rows: usize,
    pub columns: usize,
    pub(super) stride: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

impl<'a> MatrixMut<'a> {
    /// Rows of `columns` values, `stride` apart.
    pub fn of(values: &'a mut [f32], rows: usize, columns: usize, stride: usize) -> MatrixMut<'a> {
        assert!(holds(values.len(), rows, columns, stride));
        // SAFETY: just checked.
        unsafe { MatrixMut::new(values.as_mut_ptr(), rows, columns, stride) }
    }

    /// # Safety
    /// Every element is within memory that this view alone reads and writes for `'a`.
    pub unsafe fn new(ptr: *mut f32, rows: usize, columns: usize, stride: usize) -> MatrixMut<'a> {
        MatrixMut { ptr, rows, columns, stride, lifetime: PhantomData }
    }

    /// Borrows a block for one product.
    pub fn block(&mut self, rows: Range<usize>, columns: Range<usize>) -> MatrixMut<'_> {
        assert!(rows.start <= rows.end && rows.end <= self.rows);
        assert!(columns.start <= columns.end && columns.end <= self.columns);
        let ptr = self.ptr.wrapping_add(rows.start * self.stride + columns.start);
        MatrixMut {
            ptr,
            rows: rows.len(),
            columns: columns.len(),
            stride: self.stride,
            lifetime: PhantomData,
        }
    }
}

fn holds(len: usize, rows: usize, columns: usize, stride: usize) -> bool {
    rows == 0 || columns == 0 || (stride >= columns && (rows - 1) * stride + columns <= len)
}
